"""Any laboratory's single-trial betas."""
