"""Single trials: standardised within their sessions, kept in the cache, averaged, and what their repeats tell."""
