import Checkpoint
import Foundation
import Synchronization
import SystemSupport
import Testing
import XenHost
import XenStream

/// The cold activation against a scripted xl: what it starts, and what is left behind by each way in which xl can fail.
@Suite(.timeLimit(.minutes(2)))
struct XenActivatorTests {
    private let xen: ScriptedXen
    private let activator: XenActivator
    private let image = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }

    init() throws {
        // An xl that has ended no longer reads its image; remusd ignores the signal too.
        Signals.ignore([SIGPIPE])
        xen = try ScriptedXen()
        try xen.write("\(ScriptedXen.uuid)", "uuid")
        activator = Self.activator(xen, xl: xen.path("xl"))
    }

    private static func activator(
        _ xen: ScriptedXen,
        xl: String,
        vifScript: VifScriptLink? = nil
    ) -> XenActivator {
        XenActivator(
            templates: xen.folder.path,
            runtimeDirectory: xen.folder.path,
            xl: XlProgram(path: xl, limits: XlProgram.Limits(answer: 20, stall: 1, restore: 1)),
            host: xen,
            devices: xen.path("net"),
            vifScript: vifScript
        )
    }

    private func description(_ config: String = ScriptedXen.json()) -> GuestDescription {
        GuestDescription(
            name: "db",
            uuid: ScriptedXen.uuid,
            kind: .hvm,
            pageCount: 32_768,
            address: "",
            config: Array(config.utf8)
        )
    }

    private func request(willRun: @escaping @Sendable () -> Void = {}) -> ActivationRequest {
        let image = image
        return ActivationRequest(
            description: description(),
            memoryDescriptor: -1,
            stateRecords: [],
            address: nil,
            writePlainImage: { config, sink in
                try config?.withUnsafeBytes { try sink($0) }
                for start in stride(from: 0, to: image.count, by: 70_000) {
                    try image[start..<min(start + 70_000, image.count)].withUnsafeBytes { try sink($0) }
                }
            },
            willRun: willRun
        )
    }

    /// The reason for which a start fails.
    private func failure(_ mode: String) throws -> String {
        try xen.write(mode, "mode")
        do {
            _ = try activator.start(request())
            Issue.record("it started")
            return ""
        } catch {
            return error.reason
        }
    }

    // MARK: What starts

    @Test func theImageGoesIntoADomainThatRunsOnlyWhenAsked() throws {
        #expect(activator.missingResources(for: request()) == [])
        let seen = Mutex<String>("")
        let xen = xen
        let started = try activator.start(request { seen.withLock { $0 = xen.text("domains") } })
        #expect(seen.withLock { $0 }.hasSuffix("paused\n"), "nothing ran before it was said that it may")
        #expect(try Data(contentsOf: xen.folder.appending(path: "image")) == Data(image))
        #expect(try xen.domains().map(\.isPaused) == [false])
        #expect(!started.guest.hasEnded)
        #expect(
            started.interfaces == [
                GuestInterface(name: "vif7.0", mac: "00:16:3E:00:00:01", addresses: ["10.0.0.5"])
            ]
        )
        let file = xen.path("effective-db.cfg")
        #expect(xen.calls == ["create --dryrun \(file)", "restore -p \(file) /proc/self/fd/3", "unpause 7"])
        let lines = xen.text("effective-db.cfg").split(separator: "\n")
        #expect(
            lines.first == "name = 'db'"
                && lines.suffix(2) == ["name = \"db\"", "uuid = \"\(ScriptedXen.uuid)\""]
        )
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    // MARK: With a script of our own

    /// An activator on a host whose bridge, and whose guest's card, our own script can serve.
    private func quick() throws -> XenActivator {
        try FileManager.default.createDirectory(
            at: xen.folder.appending(path: "net/xenbr0/bridge"),
            withIntermediateDirectories: true
        )
        let json = ScriptedXen.json().replacing(#", "ip": "10.0.0.5""#, with: "")
        try xen.write(json, "template.json")
        let link = VifScriptLink(
            in: xen.folder.path,
            program: xen.path("xl"),
            scripts: xen.path("scripts"),
            devices: xen.path("net")
        )
        return Self.activator(xen, xl: xen.path("xl"), vifScript: link)
    }

    @Test func aScriptOfOurOwnGoesWithinTheImage() throws {
        _ = try quick().start(request())
        #expect(xen.calls.suffix(2) == ["restore -p /proc/self/fd/3", "unpause 7"])
        // What is before the image itself.
        let head = try Data(contentsOf: xen.folder.appending(path: "image")).dropLast(image.count)
        let read = try JSONSerialization.jsonObject(with: Data(head)) as? [String: Any]
        let card = (read?["nics"] as? [[String: Any]])?.first
        #expect(card?["script"] as? String == xen.path("vif-remusd"))
        #expect(card?["mac"] as? String == "00:16:3E:00:00:01")
        let identity = read?["c_info"] as? [String: Any]
        #expect(identity?["uuid"] as? String == "\(ScriptedXen.uuid)")
        #expect(access(xen.path("vif-remusd"), X_OK) == 0)
    }

    @Test func afterAStartThatFailedXensScriptIsTried() throws {
        let activator = try quick()
        try xen.write("half", "mode")
        #expect(throws: GuestError.self) { _ = try activator.start(request()) }
        try xen.write("", "mode")
        _ = try activator.start(request())
        let restores = xen.calls.filter { $0.hasPrefix("restore") }
        #expect(
            restores == [
                "restore -p /proc/self/fd/3", "restore -p \(xen.path("effective-db.cfg")) /proc/self/fd/3",
            ]
        )
        #expect(try Data(contentsOf: xen.folder.appending(path: "image")) == Data(image))
        #expect(try xen.domains().map(\.isPaused) == [false])
    }

    @Test func aCardThatItCannotServeKeepsItsScript() throws {
        let activator = try quick()
        try xen.write(ScriptedXen.json(), "template.json")
        _ = try activator.start(request())
        #expect(xen.calls.contains("restore -p \(xen.path("effective-db.cfg")) /proc/self/fd/3"))
    }

    @Test func anUnpauseThatComplainsAndWorksIsGood() throws {
        try xen.write("unpause-complains", "mode")
        _ = try activator.start(request())
        #expect(try xen.domains().map(\.isPaused) == [false])
    }

    @Test func aTemplateIsReadAgainOnlyWhenItChanged() throws {
        _ = activator.outlook(for: description())
        _ = activator.outlook(for: description())
        #expect(xen.calls.count == 1)
        try xen.write("name = 'db'\nmemory = 128\non_crash = 'preserve'\n", "db.cfg")
        _ = activator.outlook(for: description())
        #expect(xen.calls.count == 2 && xen.text("effective-db.cfg").contains("preserve"))
    }

    // MARK: What fails

    @Test func aBridgeThatTheHostLacksIsSaidBefore() throws {
        try FileManager.default.removeItem(atPath: xen.path("net/xenbr0"))
        #expect(activator.outlook(for: description()).obstacles.contains { $0.contains("bridge xenbr0") })
    }

    @Test func withoutXlOrXenItSaysSo() throws {
        let without = Self.activator(xen, xl: xen.path("nothing"))
        #expect(
            without.missingResources(for: request()).contains {
                $0.contains("start") && $0.contains("nothing")
            }
        )
        #expect(throws: GuestError.self) { _ = try without.start(request()) }
        xen.trouble.withLock { $0 = "this host does not run under Xen" }
        #expect(activator.missingResources(for: request()) == ["this host does not run under Xen"])
        #expect(activator.runningGuest(named: "db", uuid: ScriptedXen.uuid, unfinished: .notYetRun) == nil)
    }

    @Test func itsLastWordsAreTheReason() throws {
        #expect(
            try failure("at-once")
                == "xl restore failed with 3: Loading new save file | xl: not enough memory"
        )
        #expect(try failure("midway") == "xl restore was ended by signal 9: about to crash")
        #expect(try failure("nothing") == "xl restored the guest, and no domain has its UUID")
        #expect(xen.calls.allSatisfy { !$0.hasPrefix("unpause") })
    }

    @Test func oneThatHangsIsEnded() throws {
        #expect(
            try failure("takes-nothing")
                == "xl restore took nothing of the image for 1 s and was ended: waiting"
        )
        #expect(try failure("hangs") == "xl restore was not done after 1 s and was ended, and said nothing")
        let pids = xen.text("pids").split { !$0.isNumber }
        #expect(pids.count == 4)
        for pid in pids {
            // What was killed takes its time to go on a busy machine.
            var isGone = false
            for _ in 0..<1000 where !isGone {
                let stat = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
                isGone = stat.isEmpty || stat.contains(") Z ")
                if !isGone { usleep(10_000) }
            }
            #expect(isGone, "nothing of them is left")
        }
    }

    @Test(arguments: ["half", "stays-paused"])
    func noHalfMadeDomainStays(_ mode: String) throws {
        _ = try failure(mode)
        #expect(try xen.domains() == [])
        #expect(xen.calls.last == "destroy 7")
        try xen.write("", "mode")
        _ = try activator.start(request())
        #expect(try xen.domains().map(\.isPaused) == [false])
    }

    @Test func anImageThatCannotBeReadStartsNothing() throws {
        var request = request()
        request.writePlainImage = { _, _ in throw CocoaError(.fileReadUnknown) }
        let broken = request
        let error = #expect(throws: GuestError.self) { _ = try activator.start(broken) }
        #expect(error?.reason.hasPrefix("the image cannot be read: ") == true)
        #expect(try xen.domains() == [])
    }

    // MARK: What is missing

    @Test func everythingThatDoesNotFitTheTemplateIsSaid() throws {
        try xen.write(
            ScriptedXen.json(type: "pv", vcpus: 2, memory: 98_304, mac: "00:16:3e:00:00:02", disk: "xvdb"),
            "template.json"
        )
        let obstacles = activator.outlook(for: description()).obstacles
        let path = xen.path("db.cfg")
        #expect(
            obstacles == [
                "type: pvh at the primary, pv in \(path); set type = there to the primary's value",
                "most vcpus: 1 at the primary, 2 in \(path); set vcpus = or maxvcpus = there to the primary's value",
                "most memory in MiB: 128 at the primary, 96 in \(path); set memory = or maxmem = there to the primary's value",
                "vif 0: MAC 00:16:3e:00:00:01 at the primary, 00:16:3e:00:00:02 in \(path); clients know the primary's",
                "disk xvda: the guest uses it, and \(path) has none of that name",
                "disk xvdb: in \(path), but unknown to the guest as it runs at the primary",
            ]
        )
        #expect(activator.missingResources(for: request()) == obstacles)
    }

    @Test func aVifWithoutMACWouldGetAnother() throws {
        try xen.write(ScriptedXen.json(mac: nil), "template.json")
        let obstacles = activator.outlook(for: description()).obstacles
        #expect(obstacles.count == 1 && obstacles[0].contains("write mac=00:16:3e:00:00:01 there"))
    }

    @Test func noTemplateOrAnotherGuestsOrABrokenOne() throws {
        try xen.write("unreadable", "mode")
        let path = xen.path("db.cfg")
        var obstacles = activator.outlook(for: description()).obstacles
        #expect(
            obstacles.count == 1 && obstacles[0].contains("xl cannot read \(path)")
                && obstacles[0].contains("near 'memory'")
        )
        try xen.write("", "mode")
        try xen.write("name = \"web\"\n", "db.cfg")
        obstacles = activator.outlook(for: description()).obstacles
        #expect(obstacles == ["\(path) is the template of another guest, web"])
        try FileManager.default.removeItem(atPath: path)
        obstacles = activator.outlook(for: description()).obstacles
        #expect(
            obstacles.count == 1
                && obstacles[0].contains("\(path) cannot be read (No such file or directory)")
        )
    }

    @Test func memoryThatIsMissingIsSaidInNumbers() throws {
        xen.free.withLock { $0 = 65_536 }
        let outlook = activator.outlook(for: description())
        #expect(outlook.neededBytes == 132 << 20 && outlook.freeBytes == 64 << 20)
        #expect(outlook.obstacles == ["it takes 132 MiB of this host's memory and 64 MiB are free"])
    }

    @Test func anAddressOrADomainInTheWay() throws {
        var request = request()
        request.address = "127.0.0.1:1"
        try xen.write("3", "named-db")
        #expect(
            activator.missingResources(for: request) == [
                "--listen is for guests of the embedded host: a Xen guest keeps the address that it has",
                "domain 3 is named db already",
            ]
        )
        try xen.write("4 \(ScriptedXen.uuid) running\n", "domains")
        #expect(
            activator.missingResources(for: request).last == "domain 4 with this guest's UUID is here already"
        )
    }

    // MARK: What is there

    private func found(_ state: String, _ unfinished: UnfinishedStart?) throws -> ActivatedGuest? {
        try xen.write("7 \(ScriptedXen.uuid) \(state)\n", "domains")
        return activator.runningGuest(named: "db", uuid: ScriptedXen.uuid, unfinished: unfinished)
    }

    @Test func whatAnEarlierDaemonLeftGoesOnOrAway() throws {
        #expect(try found("paused", .notYetRun) == nil)
        #expect(try xen.domains() == [], "it was never let run: the image is the guest")
        #expect(try found("paused", .mayHaveRun) != nil)
        #expect(try xen.domains().map(\.isPaused) == [false])
        #expect(try found("running", .notYetRun) != nil)
        #expect(try found("paused", nil) != nil)
        #expect(try xen.domains().map(\.isPaused) == [true], "an operator paused it")
        #expect(try found("shutdown-3", nil) == nil)
        try xen.write("7 \(GuestUUID(high: 1, low: 1)) running\n", "domains")
        #expect(activator.runningGuest(named: "db", uuid: ScriptedXen.uuid, unfinished: nil) == nil)
    }

    @Test func aSuspendedGuestOrASilentXenIsNoEnd() throws {
        let guest = try #require(try found("running", nil)).guest
        try xen.write("9 \(ScriptedXen.uuid) shutdown-2\n", "domains")
        #expect(!guest.hasEnded)
        xen.trouble.withLock { $0 = "xenstored does not answer" }
        #expect(!guest.hasEnded)
    }
}
