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
        #expect(
            config
                == #"{"c_info":{"name":"a\"},{","uuid":"6c616200-0000-4000-8000-000000000015"},"nics":[{"devid":0}]}"#
        )
    }

    @Test func whatNobodyHereKnowsStaysAsItIs() {
        let text =
            #"{"a":[null,true,-3,18446744073709551615,0.5,"/x"],"b":{},"max_memkb":131072,"z":"\u0001ü"}"#
        #expect(extract(#"[{"config":"# + text + "}]") == text)
    }

    /// Another host has no such file; there vif-bridge does the same.
    @Test func thisProgramAsAScriptStaysBehind() {
        let cards =
            #"{"devid":0,"script":"/var/lib/remusd/vif-remusd"},{"devid":1,"script":"/etc/xen/scripts/vif-route"}"#
        #expect(
            extract(#"[{"config":{"nics":["# + cards + "]}}]")
                == #"{"nics":[{"devid":0},{"devid":1,"script":"/etc/xen/scripts/vif-route"}]}"#
        )
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
