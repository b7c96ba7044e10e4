import NetBuffer
import Testing

@Suite struct HoldNameTests {
    @Test(arguments: ["rmd5.0a", "rmd32751.12eb", "rmd1.3z"])
    func isReadAsItIsWritten(name: String) {
        #expect(HoldName(name)?.description == name)
        #expect(name.utf8.count <= 15)
    }

    @Test(arguments: [
        "rmd5.0", "rmd5a", "rmd.0a", "rmd05.0a", "ifb0", "rmd5.-1a", "rmd5.0A", "xrmd5.0a", "rmd5.0.0a",
    ])
    func othersAreNotOurs(name: String) { #expect(HoldName(name) == nil) }

    @Test func belongsToItsPort() {
        let port = GuestPort(interface: "vif5.0", device: 0)
        let tap = GuestPort(interface: "vif5.0-emu", device: 0, isEmulated: true)
        #expect(HoldName(domain: 5, port: tap, letter: "a").description == "rmd5.0ea")
        #expect(HoldName("rmd5.0a")?.isOf(port, domain: 5) == true)
        #expect(HoldName("rmd5.0a")?.isOf(tap, domain: 5) == false)
        #expect(HoldName("rmd5.0a")?.isOf(port, domain: 6) == false)
    }
}
