import Daemon
import Glibc
import SystemSupport
import Testing

@Suite struct PathsTests {
    @Test func defaultsAndEnvironment() throws {
        #expect(try Paths { _ in nil } == Paths(runtime: "/run/remusd", state: "/var/lib/remusd"))
        #expect(try Paths { _ in "" } == Paths(runtime: "/run/remusd", state: "/var/lib/remusd"))
        let set = try Paths { $0 == "REMUSD_RUNTIME_DIR" ? "/tmp/a//" : "/tmp/b" }
        #expect(set == Paths(runtime: "/tmp/a", state: "/tmp/b"))
    }

    @Test func refusesARelativeDirectory() {
        let error = #expect(throws: PathError.self) { try Paths { _ in "here" } }
        #expect(
            error?.description == "cannot use here: REMUSD_RUNTIME_DIR must be an absolute path, from / on"
        )
    }

    @Test func everyPathIsKeyedByRoleAndGuest() throws {
        let paths = Paths(runtime: "/r", state: "/s")
        let web = try GuestName("web1")
        #expect(try paths.primarySocket(web) == "/r/primary-web1.sock")
        #expect(try paths.standbySocket() == "/r/standby.sock")
        #expect(try paths.guestSocket(web) == "/r/guest-web1.sock")
        #expect(try paths.guestControl(web) == "/r/guest-web1.ctl")
        #expect(try paths.guardianSocket() == "/r/guardian.sock")
        #expect(paths.primaryLog(web) == "/r/primary-web1.log")
        #expect(paths.primaryRecord(web) == "/s/primary-web1.json")
        #expect(paths.standbyRecord(web) == "/s/standby-web1.json")
    }

    @Test func aSocketPathThatIsTooLongIsRefusedEarly() throws {
        let long = "/" + String(repeating: "d", count: 94)
        #expect(throws: PathError.self) { try Paths { _ in long } }
        let paths = Paths(runtime: String(long.dropLast(10)), state: "/s")
        // 85 + "/primary-" + name + ".sock" = 107
        let fits = try GuestName(String(repeating: "x", count: 8))
        #expect(try paths.primarySocket(fits).utf8.count == Paths.socketPathLimit)
        let error = #expect(throws: PathError.self) { try paths.primarySocket(GuestName("xxxxxxxxx")) }
        #expect(error?.reason.contains("REMUSD_RUNTIME_DIR") == true)
    }

    @Test func whatCannotBeLookedIntoIsNotEmpty() throws {
        let directory = try TemporaryDirectory()
        try directory.write("", to: "file")
        #expect(throws: Never.self) { try Paths(runtime: directory.file("none"), state: "/s").check() }
        #expect(throws: Never.self) { try Paths(runtime: directory.path, state: "/s").check() }
        for path in ["file", "file/below"] {
            let error = #expect(throws: PathError.self) {
                try Paths(runtime: directory.file(path), state: "/s").check()
            }
            #expect(error?.description.contains("REMUSD_RUNTIME_DIR") == true)
        }
    }

    @Test func createsPrivateDirectoriesAndFindsGuests() throws {
        let directory = try TemporaryDirectory()
        let paths = Paths(runtime: directory.file("run/x"), state: directory.file("state"))
        #expect(paths.guestsWithPrimarySocket().isEmpty)
        try paths.create()
        try paths.create()
        var info = stat()
        #expect(stat(paths.runtime, &info) == 0)
        #expect(info.st_mode & 0o777 == 0o700)
        for file in [
            "run/x/primary-b.sock", "run/x/primary-a.sock", "run/x/primary-a.sock.lock",
            "run/x/primary-.sock",
            "run/x/primary-a.log", "run/x/guest-g.sock", "run/x/guest-g.ctl", "run/x/standby.sock",
            "state/standby-s.json", "state/standby-s.json.new", "state/primary-p.json",
        ] {
            try directory.write("", to: file)
        }
        #expect(paths.guestsWithPrimarySocket().map(\.text) == ["a", "b"])
        #expect(paths.guestsWithGuestSocket().map(\.text) == ["g"])
        #expect(paths.guestsWithStandbyRecord().map(\.text) == ["s"])
        #expect(paths.guestsWithPrimaryRecord().map(\.text) == ["p"])
    }
}
