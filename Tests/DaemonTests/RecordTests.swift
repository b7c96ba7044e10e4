import Daemon
import Glibc
import SystemSupport
import Testing

@Suite struct RecordTests {
    let directory: TemporaryDirectory
    let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.file("primary-web1.json")
    }

    let primary = PrimaryRecord(
        guest: "web1",
        uuid: "0f0e0d0c-0b0a-4908-8706-050403020100",
        generation: .max,
        session: "ab12",
        peer: "127.0.0.1:7070",
        updatedAt: "2026-11-23T09:04:00Z"
    )

    @Test func comesBackAsItWas() throws {
        #expect(try PrimaryRecord.load(from: path) == nil)
        try primary.store(at: path)
        #expect(try PrimaryRecord.load(from: path) == primary)
        var standby = StandbyRecord(guest: "web1", uuid: primary.uuid, generation: 4, state: .active)
        standby.activatedFrom = 3
        standby.id = "77"
        standby.address = "127.0.0.1:6400"
        try standby.store(at: directory.file("standby-web1.json"))
        #expect(try StandbyRecord.load(from: directory.file("standby-web1.json")) == standby)
    }

    @Test func isReadableByItsOwnerAlone() throws {
        try primary.store(at: path)
        var info = stat()
        #expect(stat(path, &info) == 0)
        #expect(info.st_mode & 0o777 == 0o600)
    }

    /// A crash at any byte of the write leaves a torn file aside, and the old record where it was.
    @Test func aTornWriteIsAsIfItHadNotBeen() throws {
        try primary.store(at: path)
        let whole = try #require(SmallFile.read(path))
        var newer = primary
        newer.generation = 1
        for length in stride(from: 0, to: whole.count, by: 7) {
            try directory.write(String(whole.prefix(length)), to: "primary-web1.json.new")
            #expect(try PrimaryRecord.load(from: path) == primary)
        }
        try newer.store(at: path)
        #expect(try PrimaryRecord.load(from: path) == newer)
        #expect(access(path + ".new", F_OK) != 0)
    }

    /// No part of a record passes for the whole, and none passes for "no record".
    @Test func everyTruncationIsAnError() throws {
        try primary.store(at: path)
        let whole = try #require(SmallFile.read(path))
        // Without its last newline it is whole.
        for length in 0..<(whole.count - 1) {
            try directory.write(String(whole.prefix(length)), to: "primary-web1.json")
            let error = #expect(throws: RecordError.self) { try PrimaryRecord.load(from: path) }
            #expect(error?.path == path)
        }
    }

    @Test(arguments: [
        ("", "it is empty"), ("hello", "it is not JSON"), ("[]", "is not a"), ("{}", "is missing"),
        (
            #"{"schema":"remusd.primary-record/2","guest":"a","uuid":"","generation":1,"updated_at":""}"#,
            "its schema is remusd.primary-record/2, this remusd knows remusd.primary-record/1"
        ),
        (
            #"{"schema":"remusd.primary-record/1","guest":"a","uuid":"","generation":-1,"updated_at":""}"#,
            "a number in it does not fit"
        ),
        (
            #"{"schema":"remusd.primary-record/1","guest":"a","uuid":"","generation":18446744073709551616,"updated_at":""}"#,
            "a number in it does not fit"
        ),
    ])
    func saysWhatIsWrong(text: String, reason: String) throws {
        try directory.write(text, to: "primary-web1.json")
        let error = #expect(throws: RecordError.self) { try PrimaryRecord.load(from: path) }
        #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
        #expect(error?.description.contains(path) == true)
    }

    @Test func whatCannotBeReadIsNotAbsent() throws {
        #expect(mkdir(path, 0o700) == 0)
        #expect(throws: RecordError.self) { try PrimaryRecord.load(from: path) }
    }

    @Test func aRecordOfTheOtherRoleIsRefused() throws {
        try primary.store(at: path)
        #expect(throws: RecordError.self) { try StandbyRecord.load(from: path) }
    }
}
