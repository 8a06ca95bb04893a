"""The logs of every process of a node: how they look, where they go and how much they say."""
