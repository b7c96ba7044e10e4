import Checkpoint
import Testing

@testable import Daemon

/// A record as bytes: it comes back as it was, or it is an error.
@Suite struct GrantDocumentTests {
    static let guest = GuestUUID(high: 1, low: 2)
    static let record = GrantRecord(generation: .max, owner: "alpha.example", id: 0xDEAD_BEEF)

    @Test func comesBackAsItWas() throws {
        let bytes = try GrantDocument.encode(Self.record, of: Self.guest)
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"generation":18446744073709551615,"guest":"00000000-0000-0001-0000-000000000002","id":"00000000deadbeef","#
                + #""owner":"alpha.example","schema":"remusd.grant/1"}"#
        )
        #expect(try GrantDocument.decode(bytes, of: Self.guest, in: "there") == Self.record)
    }

    /// No part of a record passes for the whole, and none passes for nothing.
    @Test func everyTruncationIsAnError() throws {
        let bytes = try GrantDocument.encode(Self.record, of: Self.guest)
        for length in 0..<bytes.count {
            #expect(throws: ArbiterError.self) {
                try GrantDocument.decode(Array(bytes[..<length]), of: Self.guest, in: "there")
            }
        }
    }

    @Test(arguments: [
        ("", "it is empty"), ("hello", "it is not JSON"), ("{}", "is missing"), ("null", "cannot be used"),
        (text(schema: "remusd.grant/2"), "its schema is 'remusd.grant/2'"),
        (text(guest: "00000000-0000-0001-0000-000000000003"), "it is the guest"),
        (text(generation: "0"), "its generation is 0"), (text(generation: "-1"), "cannot be used"),
        (text(generation: "1.5"), "cannot be used"), (text(generation: "\"1\""), "cannot be used"),
        (text(owner: ""), "its owner"), (text(id: "xyz"), "its id is 'xyz'"), (text(id: ""), "its id is ''"),
        (text(owner: String(repeating: "a", count: 5000)), "bytes"),
    ])
    func saysWhatIsWrong(text: String, words: String) throws {
        let error = #expect(throws: ArbiterError.self) {
            try GrantDocument.decode(Array(text.utf8), of: Self.guest, in: "there")
        }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(error?.description.hasPrefix("there ") == true)
    }

    @Test func whatCouldNotBeReadIsNotWritten() {
        for record in [
            GrantRecord(generation: 0, owner: "a", id: 1), GrantRecord(generation: 1, owner: "", id: 1),
        ] {
            #expect(throws: ArbiterError.self) { try GrantDocument.encode(record, of: Self.guest) }
        }
    }

    private static func text(
        schema: String = "remusd.grant/1",
        guest: String = "00000000-0000-0001-0000-000000000002",
        generation: String = "1",
        owner: String = "a",
        id: String = "1"
    ) -> String {
        #"{"schema":"\#(schema)","guest":"\#(guest)","generation":\#(generation),"owner":"\#(owner)","id":"\#(id)"}"#
    }
}
