"""What of the metrics tables may be given away: aggregates whose small cells nobody can work out."""
