"""The real peer: go-perun nodes, and Perun's own contracts, out of their Go modules."""
