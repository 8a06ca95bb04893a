"""The authority of a namespace: its key and certificates, requests for them, and the list of those it took back."""
