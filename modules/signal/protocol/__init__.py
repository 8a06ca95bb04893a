"""The rules of first contact and rendezvous, without any input or output."""
