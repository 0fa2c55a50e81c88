"""A shop and parcel-delivery bot whose traffic shows the whole system at work."""
