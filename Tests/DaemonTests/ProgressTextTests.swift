import Daemon
import Testing

@Suite struct ProgressTextTests {
    static func line(_ done: UInt64, _ total: UInt64, rate: UInt64? = nil, columns: Int = 70) -> String {
        ProgressText.line(
            label: "syncing web1",
            done: done << 20,
            total: total << 20,
            rate: rate,
            columns: columns
        )
    }

    @Test func bars() {
        #expect(
            Self.line(110, 256, rate: 1_288_490_189)
                == "syncing web1 [============>               ] 42% 110MiB/256MiB 1.2GiB/s"
        )
        #expect(Self.line(0, 256) == "syncing web1 [>                             ] 0% 0B/256MiB")
        #expect(Self.line(256, 256) == "syncing web1 [==============================] 100% 256MiB/256MiB")
        #expect(Self.line(300, 256) == "syncing web1 [==============================] 100% 300MiB/256MiB")
        #expect(Self.line(3, 0, rate: 1024) == "syncing web1 3MiB 1KiB/s")
    }

    @Test(arguments: 1...120)
    func neverLongerThanTheTerminal(columns: Int) {
        #expect(Self.line(110, 256, rate: 5, columns: columns).count <= columns)
        #expect(Self.line(110, 0, rate: 5, columns: columns).count <= columns)
    }
}
