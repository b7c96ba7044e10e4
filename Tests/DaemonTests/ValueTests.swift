import Checkpoint
import Daemon
import SystemSupport
import Testing

@Suite struct ByteSizeTests {
    @Test(
        arguments: [
            ("0", 0), ("4096", 4096), ("4096B", 4096), ("64KiB", 64 << 10), ("256MiB", 256 << 20),
            ("8GiB", 8 << 30),
            ("1TiB", 1 << 40), ("16777215TiB", 16_777_215 << 40), ("18446744073709551615", .max),
        ] as [(String, UInt64)]
    )
    func reads(text: String, bytes: UInt64) throws {
        #expect(try ByteSize(parsing: text).bytes == bytes)
    }

    @Test(arguments: [
        "", "B", "KiB", "-1", "+1", " 1", "1 MiB", "1.5GiB", "256MB", "256M", "256mib", "0x10", "16777216TiB",
        "18446744073709551616", "1MiBB", "٣MiB",
    ])
    func refuses(text: String) {
        let error = #expect(throws: ValueError.self) { try ByteSize(parsing: text) }
        #expect(error?.description.contains("write it like 256MiB") == true)
    }

    @Test(
        arguments: [
            (0, "0", "0B"), (1, "1", "1B"), (1023, "1023", "1023B"), (1024, "1KiB", "1KiB"),
            (1536, "1536", "1.5KiB"),
            (256 << 20, "256MiB", "256MiB"), (1_288_490_189, "1288490189", "1.2GiB"),
            (8 << 30, "8GiB", "8GiB"),
            (UInt64.max, "18446744073709551615", "16777215TiB"),
        ] as [(UInt64, String, String)]
    )
    func writes(bytes: UInt64, exact: String, rounded: String) throws {
        let size = ByteSize(bytes: bytes)
        #expect(size.description == exact)
        #expect(size.rounded == rounded)
        #expect(try ByteSize(parsing: size.description) == size)
    }
}

@Suite struct TimeSpanParsingTests {
    @Test(
        arguments: [
            ("0", 0), ("7ns", 7), ("250us", 250_000), ("50ms", 50_000_000), ("2s", 2_000_000_000),
            ("1m", 60_000_000_000),
            ("1min", 60_000_000_000), ("2h", 7_200_000_000_000),
        ] as [(String, UInt64)]
    )
    func reads(text: String, nanoseconds: UInt64) throws {
        #expect(try TimeSpan(parsing: text).nanoseconds == nanoseconds)
    }

    @Test(arguments: ["", "5", "ms", "-1s", "+1s", "1.5s", "50 ms", "50MS", "5x", "99999999999h", "１s"])
    func refuses(text: String) {
        let error = #expect(throws: ValueError.self) { try TimeSpan(parsing: text) }
        #expect(error?.description == "'\(text)' is not a time: write it like 50ms, 2s, 250us or 1m")
    }

    @Test(
        arguments: [
            (0, "0ns"), (999, "999ns"), (38_000, "38us"), (999_999, "999us"), (1_000_000, "1ms"),
            (4_100_000, "4.1ms"),
            (38_200_000, "38ms"), (1_000_000_000, "1s"), (2_150_000_000, "2.1s"), (59_900_000_000, "59s"),
            (60_000_000_000, "1m"), (250_000_000_000, "4m10s"), (3_600_000_000_000, "1h"),
            (11_100_000_000_000, "3h5m"),
        ] as [(UInt64, String)]
    )
    func rounds(nanoseconds: UInt64, text: String) {
        #expect(TimeSpan(nanoseconds: nanoseconds).rounded == text)
    }
}

@Suite struct GuestNameTests {
    @Test(arguments: ["a", "web1", "Web_1.a+b-c", "...", "-", String(repeating: "x", count: 64)])
    func accepts(text: String) throws {
        #expect(try GuestName(text).text == text)
    }

    @Test(arguments: ["", ".", "..", "a/b", "a b", "a\n", "é", "a\0b", String(repeating: "x", count: 65)])
    func refuses(text: String) {
        #expect(throws: ValueError.self) { try GuestName(text) }
    }
}

@Suite struct TimestampTests {
    @Test(arguments: [(0, "1970-01-01T00:00:00Z"), (1_795_424_645, "2026-11-23T09:04:05Z")])
    func isRFC3339(seconds: Int, text: String) {
        #expect(Timestamp.text(seconds: seconds) == text)
    }

    @Test func nowHasItsForm() {
        #expect(Timestamp.now.count == 20)
        #expect(Timestamp.nowPrecise.count == 24)
    }
}

@Suite struct HexIDTests {
    @Test(arguments: [0, 1, 0xDEAD_BEEF, .max] as [UInt64])
    func comesBack(id: UInt64) {
        #expect(HexID.text(id).count == 16)
        #expect(HexID.parse(HexID.text(id)) == id)
    }

    @Test(arguments: ["", "+1", "-1", "x", "00000000000000000"])
    func refuses(text: String) {
        #expect(HexID.parse(text) == nil)
    }
}
