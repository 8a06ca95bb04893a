"""What is asked and what is answered; no socket, no clock."""
