"""Whether boxes outlive the nodes that keep them: `scripts/lab churn` (docs/protocol/store.md, "Churn")."""
