"""What runs beside the attempts of a worker: it keeps messages and leases, hears of cancellations, and sends events."""
