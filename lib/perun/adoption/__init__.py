"""Requests to the IoT adoption service, typed. The service may be late; it must not be believed
more than needed: receipts are signed, and a device checks them."""
