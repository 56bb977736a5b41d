"""What a well-formed publisher, advertiser, campaign or creative is, and what is wrong with others.

`form` looks at the form, the others at the meaning. Nothing here reads or stores; every error is collected, not only
the first.
"""
