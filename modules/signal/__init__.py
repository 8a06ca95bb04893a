"""First contact with the overlay, and rendezvous: carrying connection offers between nodes."""
