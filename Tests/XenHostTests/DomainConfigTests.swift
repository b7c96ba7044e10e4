import Testing
import XenHost

@Suite struct DomainConfigTests {
    private func extract(_ text: String) -> String? {
        DomainConfig.extract(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func cutsTheConfigurationOutAndLeavesTheDomidBehind() {
        let text = """
            [
                {
                    "domid": 1,
                    "config": {
                        "c_info": {
                            "name": "a\\"},{",
                            "domid": 4294967295,
                            "uuid": "6c616200-0000-4000-8000-000000000015"
                        },
                        "nics": [ { "devid": 0 } ]
                    }
                }
            ]
            """
        let config = extract(text)
        #expect(config?.hasPrefix("{\n") == true)
        #expect(config?.hasSuffix("}") == true)
        #expect(config?.contains("domid") == false)
        #expect(config?.contains(#""name": "a\"},{","#) == true)
        #expect(config?.contains(#""nics": [ { "devid": 0 } ]"#) == true)
        #expect(config?.contains("\"uuid\"") == true)
    }

    @Test func theDomidMayComeFirstLastOrNotAtAll() {
        func inside(_ members: String) -> String? { extract(#"[{"config":{"c_info":{"# + members + "}}}]") }
        #expect(inside(#""domid":5,"name":"a""#) == #"{"c_info":{"name":"a"}}"#)
        #expect(inside(#""name":"a","domid":5"#) == #"{"c_info":{"name":"a"}}"#)
        #expect(inside(#""domid": 5"#) == #"{"c_info":{}}"#)
        #expect(inside(#""name":"domid""#) == #"{"c_info":{"name":"domid"}}"#)
    }

    @Test(arguments: ["", "[]", "{", #"[{"config":"#, #"[{"config": 5}]"#, #"[{"config": {"a": "#, #"""#])
    func whatIsNoConfiguration(_ text: String) { #expect(extract(text) == nil) }
}
