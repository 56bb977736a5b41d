from tests.engine.web.conftest import *

def test_x(service):
    r = service.decide()
    print(r.status, r.headers, r.data)
    r = service.decide(request(placements=[{"id":"a"},{"id":"a"}], time={"timezone":"X/Y","at":"1999-01-01T00:00:00Z"}, place={"country":"XX","region":"BE"}))
    print(r.data)
    r = service.decide(Origin="https://evil.test"); print(r.status, r.data)
    r = service.client.get("/openapi.json"); print(r.status, r.data[:3000])
    r = service.client.get("/nope"); print(r.status, r.data, r.headers)
    r = service.call("GET","/metrics", key="operator"); print(r.status, r.text[:3000], r.headers)
