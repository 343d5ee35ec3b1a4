"""One file per neighbour: the only place its library is imported."""
