"""Galera: what each data node says of the cluster, read and judged.

A node that is not in the primary component still answers TCP and SHOW STATUS, so only its own
`wsrep_cluster_status` counts. An arbiter (`garbd`) votes and holds no data; the data nodes see it.
Source: Galera Cluster documentation, "Monitoring the Cluster", "Quorum Components".
"""
