"""Who may act: contending, the lease, the epoch, and the guard that ends what runs."""
