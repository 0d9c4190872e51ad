"""How fast and how large: times every stage and the reference method on one simulated file. Run it: `make bench`."""
