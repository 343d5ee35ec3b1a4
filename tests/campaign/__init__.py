"""A campaign in the manner of Jepsen: faults by seed, a workload, a checker over the history."""
