import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// `remusd arbiter`, as scripts see it.
@Suite struct ArbiterCommandTests {
    let directory: TemporaryDirectory
    let program: Program
    let spec: String

    init() throws {
        directory = try TemporaryDirectory()
        program = Program(directory: directory)
        spec = "file:\(directory.file("storage"))"
        try #require(mkdir(directory.file("storage"), 0o700) == 0)
    }

    @Test func initPreparesOnce() throws {
        let first = try program.run("arbiter", "init", spec)
        #expect(first.exitCode == 0)
        let again = try program.run("arbiter", "init", spec)
        #expect(again.exitCode == 0)
        #expect(again.output == first.output.replacing("prepared:", with: "prepared already:"))
        #expect(try program.run("arbiter", "init", "manual").exitCode == 0)
        let missing = try program.run("arbiter", "init", spec + "/missing")
        #expect(missing.exitCode == 73)
        #expect(missing.error.contains("No such file or directory"))
    }

    @Test func checkSaysWhetherItWorks() throws {
        let before = try program.run("arbiter", "check", spec)
        #expect(before.exitCode == 75)
        #expect(before.output.contains("is the storage mounted?"))
        _ = try program.run("arbiter", "init", spec)
        let text = try program.run("arbiter", "check", spec)
        #expect(text.exitCode == 0)
        #expect(text.output.hasSuffix("works\n"))
        let json = try program.run("arbiter", "check", spec, "--output", "json")
        #expect(json.exitCode == 0)
        let check = try ControlJSON.decode(ArbiterCheck.self, from: Array(json.output.utf8))
        #expect(check.schema == "remusd.arbiter-check/1")
        #expect(check.arbiter == spec)
        #expect(check.steps.map(\.name).contains("first grant"))
        #expect(try program.run("arbiter", "check", "prefer-primary").exitCode == 0)
        #expect(try program.run("arbiter", "check", "manual").exitCode == 0)
    }

    /// A store that answers as if it worked, and grants to everybody.
    @Test func aStoreThatLiesIsFoundOut() {
        var check = ArbiterCheck(.manual)
        ArbiterProbe.store(YesSayer(), &check, .seconds(60))
        #expect(check.outcome == .wrong)
        #expect(check.steps.last?.problem?.hasPrefix("answered ") == true)
    }

    private struct YesSayer: RecordStore {
        let name = "yes"
        func read(_ guest: GuestUUID, until deadline: UInt64) -> StoredRecord<Int> {
            StoredRecord(record: nil, version: 0)
        }
        func swap(
            _ guest: GuestUUID,
            from expected: StoredRecord<Int>,
            to record: GrantRecord,
            until deadline: UInt64
        ) -> Bool { true }
        func settle(_ guest: GuestUUID, on record: GrantRecord, until deadline: UInt64) {}
        func identity(until deadline: UInt64) -> String { "yes" }
        func removeProbe(_ guest: GuestUUID, until deadline: UInt64) {}
    }

    @Test func showIsTheRecordOrThatThereIsNone() throws {
        let uuid = GuestUUID.random()
        #expect(try program.run("arbiter", "show", "\(uuid)", "--arbiter", spec).exitCode == 75)
        _ = try program.run("arbiter", "init", spec)
        let none = try program.run("arbiter", "show", "\(uuid)", "--arbiter", spec)
        #expect(none.exitCode == 0)
        #expect(none.output.contains("no record"))
        let empty = try program.run("arbiter", "show", "\(uuid)", "--arbiter", spec, "--output", "json")
        #expect(empty.output.contains(#""record" : null"#))
        let arbiter = try #require(makeArbiter(try ArbiterSpec(parsing: spec)))
        let request = ArbiterRace.request(uuid, from: 0, id: 0xAB)
        #expect(arbiter.ask(request, deadline: .seconds(60)) == .granted(request.wanted))
        // By the name that this host's own record has.
        #expect(try program.run("arbiter", "show", "web1", "--arbiter", spec).exitCode == 69)
        let paths = Paths(runtime: directory.path, state: directory.path)
        try StandbyRecord(guest: "web1", uuid: uuid.description, generation: 1, state: .image)
            .store(at: paths.standbyRecord(GuestName("web1")))
        for name in ["web1", "\(uuid)"] {
            let text = try program.run("arbiter", "show", name, "--arbiter", spec)
            #expect(text.exitCode == 0)
            #expect(text.output == "\(uuid): generation 1, granted to alpha (00000000000000ab)\n")
        }
        let json = try program.run("arbiter", "show", "web1", "--arbiter", spec, "--output", "json").output
        for words in [
            #""schema" : "remusd.arbiter/1""#, #""generation" : 1"#, #""id" : "00000000000000ab""#,
            #""owner" : "alpha""#, #""guest" : "\#(uuid)""#,
        ] {
            #expect(json.contains(words))
        }
        try directory.write("torn", to: "standby-web1.json")
        #expect(try program.run("arbiter", "show", "web1", "--arbiter", spec).exitCode == 78)
    }

    @Test(arguments: [
        ["show"], ["show", "web1"], ["show", "web1", "--arbiter", "prefer-primary"],
        ["show", "a b", "--arbiter", "manual"],
        ["check"], ["check", "file:here"], ["init"], ["init", "etcd:nowhere"],
        ["check", "manual", "--timeout", "5"],
    ])
    func wrongUsageIs64(arguments: [String]) throws {
        try PrimaryRecord(
            guest: "web1",
            uuid: GuestUUID.random().description,
            generation: 1,
            session: nil,
            peer: nil
        ).store(at: directory.file("primary-web1.json"))
        #expect(try program.run(["arbiter"] + arguments).exitCode == 64)
    }

    @Test func aWrongSpecIsExplained() throws {
        let result = try program.run("arbiter", "check", "etcd:10.0.0.5:2379")
        #expect(result.error.contains("begin each address with http:// or https://"))
    }

    @Test(arguments: ["show", "init", "check"])
    func everyHelpHasItsExitCodes(command: String) throws {
        let help = try program.run("arbiter", command, "--help")
        #expect(help.exitCode == 0)
        let codes = help.output.split(separator: "\n").drop { $0 != "EXIT CODES" }.dropFirst()
            .compactMap { line in line.split(separator: " ").first.flatMap { Int($0) } }
        #expect(codes.starts(with: [0, 64]))
        #expect(codes == codes.sorted())
    }
}
