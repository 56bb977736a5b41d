from tests.engine.web.conftest import *


def test_x(service):
    r = service.decide()
    print(r.status, r.headers, r.data)
    r = service.decide(
        request(
            placements=[{"id": "a"}, {"id": "a"}],
            time={"timezone": "X/Y", "at": "1999-01-01T00:00:00Z"},
            place={"country": "XX", "region": "BE"},
        )
    )
    print(r.data)
    r = service.decide(Origin="https://evil.test")
    print(r.status, r.data)
    r = service.client.get("/openapi.json")
    print(r.status, r.data[:3000])
    r = service.client.get("/nope")
    print(r.status, r.data, r.headers)
    r = service.call("GET", "/metrics", key="operator")
    print(r.status, r.text[:3000], r.headers)

def test_y(service):
    r = service.call("PUT","/v1/campaigns/k1",key="acme",body={"advertiser":"acme","name":"x","cpm_micros":1000,"targetin":1,"bob@x":2}); print(r.status,r.text)
    r = service.call("PUT","/v1/campaigns/k1",key="acme",body={"advertiser":"acme","name":"x","cpm_micros":1000}); print(r.status,r.text)
    r = service.call("GET","/v1/campaigns?limit=1",key="acme"); print(r.status,r.text)
    r = service.call("PUT","/v1/creatives/c1",key="acme",body={"campaign":"k1","format":"native","landing_url":"https://acme.test/x","headline":"Hi","sponsored_by":"Acme","body":"xx"}); print(r.status,r.text)
    r = service.call("GET","/v1/approvals/globe",key="globe"); print(r.status,r.text)
    h = r.json["items"][0]["hash"] if r.json.get("items") else "0"*64
    r = service.call("PUT","/v1/approvals/globe/c1",key="globe",body={"state":"approved","hash":h}); print(r.status,r.text)
    r = service.call("GET","/v1/creatives/c1",key="rival"); print(r.status,r.text)
    r = service.call("DELETE","/v1/campaigns/k1",key="acme"); print(r.status,r.text)
    r = service.client.get("/openapi.json"); print(r.status); import json; print(json.dumps(r.json["paths"]["/v1/campaigns/{id}"])[:3000]); print(list(r.json["components"]["schemas"]))
