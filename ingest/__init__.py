"""At the cloud: frames off the broker, checked, committed to the ledger, handed to consumers."""
