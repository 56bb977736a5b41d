"""tmp"""
def enrich(own, campaign, advertiser):
    return own
