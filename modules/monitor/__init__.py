"""The role monitor: figures for Prometheus, and a live page of the ring."""
