"""`ipop doctor`: what this machine gives a node and what it lacks. What only one module needs, that module checks."""
