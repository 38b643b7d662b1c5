"""Internal HTTP: decode, authorise, open the transaction, call the use case, encode."""
