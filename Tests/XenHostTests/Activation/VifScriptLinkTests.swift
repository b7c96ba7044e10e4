import Foundation
import SystemSupport
import Testing
import XenHost

/// Which network cards this program's own script serves, and that its name leads to the program.
@Suite struct VifScriptLinkTests {
    private let xen: ScriptedXen
    private let link: VifScriptLink

    init() throws {
        xen = try ScriptedXen()
        for folder in ["net/xenbr0/bridge", "net/ovsbr0", "scripts"] {
            try FileManager.default.createDirectory(
                at: xen.folder.appending(path: folder),
                withIntermediateDirectories: true
            )
        }
        link = Self.link(xen, program: xen.path("xl"))
    }

    private static func link(_ xen: ScriptedXen, program: String) -> VifScriptLink {
        VifScriptLink(
            in: xen.folder.path,
            program: program,
            scripts: xen.path("scripts"),
            devices: xen.path("net")
        )
    }

    /// The scripts of the cards of a configuration, once ours was offered; nil if it serves none.
    private func scripts(_ cards: String, _ link: VifScriptLink? = nil) throws -> [String?]? {
        let json = #"{"c_info": {"name": "db"}, "nics": ["# + cards + "]}"
        guard let given = (link ?? self.link).given(to: Array(json.utf8)) else { return nil }
        let read = try JSONSerialization.jsonObject(with: Data(given)) as? [String: Any]
        #expect((read?["c_info"] as? [String: String])?["name"] == "db")
        return (read?["nics"] as? [[String: Any]])?.map { $0["script"] as? String }
    }

    @Test(arguments: [
        "",
        #", "bridge": "xenbr0""#,
        #", "script": "vif-bridge""#,
        #", "ifname": "web1", "mtu": 9000, "model": "e1000", "nictype": "vif_ioemu""#,
        #", "rate_bytes_per_interval": 100, "rate_interval_usecs": 50000"#,
        #", "backend_domid": 0, "trusted": "True""#,
    ])
    func aCardThatVifBridgeWouldServeIsServed(_ more: String) throws {
        let card = #"{"devid": 0, "mac": "00:16:3e:00:00:01""# + more + "}"
        #expect(try scripts(card) == [xen.path("vif-remusd")])
    }

    @Test func theDefaultMayBeSpeltOut() throws {
        let card = #"{"devid": 0, "script": ""# + xen.path("scripts/vif-bridge") + #""}"#
        #expect(try scripts(card) == [xen.path("vif-remusd")])
    }

    @Test(arguments: [
        // For a script, or another one than vif-bridge.
        #""ip": "10.0.0.5""#, #""script": "vif-route""#, #""script": "/usr/local/etc/vif-bridge""#,
        #""script": "vif-openvswitch""#, #""gatewaydev": "eth0""#, #""vlan": "5""#,
        // In another domain, or for something else altogether.
        #""backend_domname": "net""#, #""backend_domid": 3"#, #""colo_compare_out": "x""#,
        #""somethingnew": 1"#,
        // Not the kernel's, and none.
        #""bridge": "ovsbr0""#, #""bridge": "xenbr9""#,
    ])
    func anyOtherIsLeftToItsScript(_ field: String) throws {
        #expect(try scripts(#"{"devid": 0, "# + field + "}") == nil)
        let beside = #"{"devid": 0}, {"devid": 1, "# + field + "}"
        #expect(try scripts(beside)?.first == xen.path("vif-remusd"))
        #expect(try scripts(beside)?.last != xen.path("vif-remusd"))
    }

    @Test func hooksOfVifBridgeAreKept() throws {
        let hooks = xen.folder.appending(path: "scripts/vif-post.d")
        try FileManager.default.createDirectory(at: hooks, withIntermediateDirectories: true)
        try xen.write("", "scripts/vif-post.d/README")
        #expect(try scripts(#"{"devid": 0}"#) != nil)
        try xen.write("", "scripts/vif-post.d/10-firewall.hook")
        #expect(try scripts(#"{"devid": 0}"#) == nil)
    }

    @Test func theNameLeadsToTheProgram() throws {
        try link.install()
        let name = xen.path("vif-remusd")
        #expect(SmallFile.target(ofLink: name) == xen.path("xl"))
        // An upgrade to another place; and whatever is there.
        try xen.write("", "remusd")
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: xen.path("remusd"))
        try Self.link(xen, program: xen.path("remusd")).install()
        #expect(SmallFile.target(ofLink: name) == xen.path("remusd"))
        try FileManager.default.removeItem(atPath: name)
        try xen.write("", "vif-remusd")
        try link.install()
        #expect(SmallFile.target(ofLink: name) == xen.path("xl"))
    }

    @Test func withoutTheProgramXensScriptStays() throws {
        let lost = Self.link(xen, program: xen.path("remusd (deleted)"))
        #expect(throws: SystemError.self) { try lost.install() }
        #expect(try scripts(#"{"devid": 0}"#, lost) == nil)
    }

    @Test func whatIsNoConfigurationGetsNothing() {
        for text in ["", "{}", #"{"nics": []}"#, #"{"nics": 5}"#, #"{"nics": [5]}"#] {
            #expect(link.given(to: Array(text.utf8)) == nil)
        }
    }
}
