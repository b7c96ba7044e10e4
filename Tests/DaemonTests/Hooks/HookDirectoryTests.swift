import Glibc
import SystemSupport
import Testing

@testable import Daemon

@Suite struct HookDirectoryTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func file(_ name: String, _ mode: UInt32) throws {
        try directory.write("#!/bin/sh\n", to: name)
        try #require(chmod(directory.file(name), mode) == 0)
    }

    private func look(_ path: String? = nil) -> (hooks: [String], refused: [String]) {
        var refused: [String] = []
        let hooks = HookDirectory(path: path ?? directory.path).hooks { refused.append($0) }
        return (hooks.map { String($0.split(separator: "/").last ?? "") }, refused)
    }

    @Test func executablesAreTakenByName() throws {
        for name in ["20-b", "10-a", "failover.sh"] { try file(name, 0o755) }
        let (hooks, refused) = look()
        #expect(hooks == ["10-a", "20-b", "failover.sh"])
        #expect(refused.isEmpty)
    }

    @Test func aDirectoryThatIsNotThereHoldsNone() {
        let (hooks, refused) = look(directory.file("none"))
        #expect(hooks.isEmpty && refused.isEmpty)
    }

    @Test func whatEditorsAndPackagesLeaveIsIgnored() throws {
        for name in [".hidden", "a~", "a.dpkg-old", "b.rpmsave"] { try file(name, 0o755) }
        let (hooks, refused) = look()
        #expect(hooks.isEmpty && refused.isEmpty)
    }

    @Test(arguments: [("not executable", 0o644), ("others may write", 0o757), ("others may write", 0o775)])
    func whatIsNotSafeIsRefusedAndSaid(_ word: String, _ mode: UInt32) throws {
        try file("10-a", mode)
        try file("20-b", 0o700)
        let (hooks, refused) = look()
        #expect(hooks == ["20-b"])
        #expect(refused.count == 1 && refused.first?.contains("10-a") == true)
        #expect(refused.first?.contains(word) == true)
    }

    @Test func aDirectoryThatOthersMayWriteToIsRefusedWhole() throws {
        try file("10-a", 0o755)
        try #require(chmod(directory.path, 0o777) == 0)
        let (hooks, refused) = look()
        #expect(hooks.isEmpty && refused.count == 1)
    }

    @Test func aDirectoryInItIsNoHook() throws {
        try #require(mkdir(directory.file("sub"), 0o755) == 0)
        #expect(look().refused.first?.contains("it is no file") == true)
    }
}
