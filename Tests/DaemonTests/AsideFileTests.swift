import Daemon
import Glibc
import SystemSupport
import Testing

@Suite struct AsideFileTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    @Test func getsItsNameOnlyWhenWhole() throws {
        try directory.write("old", to: "image")
        try directory.write("left over", to: "image.part")
        let file = try AsideFile(path: directory.file("image"))
        #expect(write(file.raw, "new", 3) == 3)
        #expect(SmallFile.read(directory.file("image")) == "old")
        try file.commit()
        #expect(SmallFile.read(directory.file("image")) == "new")
        #expect(access(directory.file("image.part"), F_OK) != 0)
        var info = stat()
        #expect(stat(directory.file("image"), &info) == 0)
        #expect(info.st_mode & 0o777 == 0o600)
    }

    @Test func leavesNothingWhenDiscarded() throws {
        let file = try AsideFile(path: directory.file("image"))
        file.discard()
        #expect(access(directory.file("image"), F_OK) != 0)
        #expect(access(directory.file("image.part"), F_OK) != 0)
    }

    @Test func refusesWhatIsNotAFile() throws {
        #expect(throws: PathError.self) { try AsideFile(path: "/dev/null") }
        #expect(throws: PathError.self) { try AsideFile(path: directory.path) }
        #expect(throws: SystemError.self) { try AsideFile(path: directory.file("missing/image")) }
    }
}
