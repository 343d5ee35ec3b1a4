"""Oracle RAC: what the clusterware's own commands print, read and judged."""
