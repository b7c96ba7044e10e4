import Testing

@testable import Transport

@Suite struct HostKeyTests {
    @Test func aKeyKeepsItsPinThroughPEMAndANewCertificate() throws {
        let key = try HostKey(newFor: "alpha", validIn: 0...1_000_000)
        let again = try HostKey(pem: try key.pem)
        #expect(again.pin == key.pin && again.expires == 1_000_000)
        let renewed = try HostKey(again, host: "alpha", validIn: 0...2_000_000)
        #expect(renewed.pin == key.pin && renewed.expires == 2_000_000)
        #expect(try HostKey(newFor: "alpha", validIn: 0...1_000_000).pin != key.pin)
    }

    @Test func whatIsNoKeyIsRefused() throws {
        let key = try HostKey(newFor: "alpha", validIn: 0...1)
        let other = try HostKey(newFor: "alpha", validIn: 0...1)
        #expect(throws: TLSError.self) { try HostKey(pem: []) }
        #expect(throws: TLSError.self) { try HostKey(pem: Array(try key.pem.dropLast(40))) }
        // The key of one and the certificate of the other.
        let mixed =
            String(decoding: try key.pem, as: UTF8.self).split(separator: "-----BEGIN CERT")[0]
            + "-----BEGIN CERT"
            + String(decoding: try other.pem, as: UTF8.self).split(separator: "-----BEGIN CERT")[1]
        #expect(throws: TLSError.self) { try HostKey(pem: Array(mixed.utf8)) }
    }

    @Test func aPinIsReadAsItIsWritten() throws {
        let pin = try HostKey(newFor: "alpha", validIn: 0...1).pin
        #expect(KeyPin(pin.description) == pin)
        #expect(KeyPin(pin.description.uppercased()) == pin)
        #expect(KeyPin(String(pin.description.dropFirst(7))) == pin)
        #expect(KeyPin(String(pin.description.dropLast())) == nil)
        #expect(KeyPin(String(pin.description.dropLast(2))) == nil)
        #expect(KeyPin(String(pin.description.dropLast()) + "g") == nil)
    }
}
