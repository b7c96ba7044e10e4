import Glibc
import SystemSupport
import Testing

@testable import Benchmark

struct PageModelTests {
    @Test func theModelIsReadAsItIsPrinted() throws {
        let text = """
            {"workload": "idle", "epochs": 20, "changed": 9, "pages": 9, "zero": 1, "raw": 4104, \
            "rle8": 80.5, "lz4": 700.125, "model": 73.25, \
            "by": {"zero": 1, "rle8": 8, "lz4": 0, "whole": 0}, "trace": "/tmp/idle.trace"}
            {"workload": "web", "pages": 4840, "raw": 4104, "lz4": 827, "model": 375, \
            "trace": "/tmp/web.trace"}

            """
        let file = try Memfd.create(name: "model", size: 0)
        try #require(write(file.raw, text, text.utf8.count) == text.utf8.count)
        let models = try PageModel.read("/proc/self/fd/\(file.raw)")
        #expect(models.map(\.workload) == ["idle", "web"])
        #expect(models.map(\.trace) == ["/tmp/idle.trace", "/tmp/web.trace"])
        #expect(models.map(\.pages) == [9, 4840])
        #expect(models.map(\.model) == [73.25, 375])
        #expect(models.map(\.lz4) == [700.125, 827])
    }
}
