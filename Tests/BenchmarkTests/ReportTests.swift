import Daemon
import Testing

@testable import Benchmark

struct ReportTests {
    @Test func percentilesAreSamplesBestFirst() throws {
        let samples = (1...200).map(Double.init).shuffled()
        let times = try #require(Percentiles(samples, in: .microseconds))
        #expect([times.p10, times.p50, times.p99] == [20, 100, 198])
        let rates = try #require(Percentiles(samples, in: .pagesPerSecond))
        #expect([rates.p10, rates.p50, rates.p99] == [181, 101, 3])
        #expect(times.samples == 200)
        #expect(Percentiles([], in: .microseconds) == nil)
        let one = try #require(Percentiles([7], in: .microseconds))
        #expect([one.p10, one.p50, one.p99] == [7, 7, 7])
    }

    @Test func aBarIsJudgedByTheRatioOrByTheValue() {
        let ours = Percentiles(only: 25)
        let peer = Beside("peer", Percentiles(only: 100))
        func verdict(_ bar: Bar?, beside: Beside? = peer) -> Verdict {
            Row(.b1, "a pause", .microseconds, ours, beside: beside, bar: bar).verdict
        }
        #expect(verdict(.ratio(.atMost, 0.25)) == .met)
        #expect(verdict(.ratio(.atMost, 0.2499)) == .notMet)
        #expect(verdict(.ratio(.atLeast, 0.25)) == .met)
        #expect(verdict(.ratio(.atLeast, 0.26)) == .notMet)
        #expect(verdict(.value(.atMost, 25)) == .met)
        #expect(verdict(.value(.atMost, 24)) == .notMet)
        #expect(verdict(nil) == .reported)
    }

    @Test func aBarWithoutAPeerIsNotRun() {
        let row = Row(.b1, "a pause", .microseconds, Percentiles(only: 1), bar: .ratio(.atMost, 1))
        #expect(row.verdict == .notRun && row.ratio == nil)
        var report = Self.report
        report.add([row])
        #expect(report.text.hasSuffix("1 met, 1 not met, 1 not run, 1 reported, 12 s\n"))
    }

    /// Half as much again is far; what could not be held against anything is too; figures alone are not looked at.
    @Test func aRatioThatIsTwiceFarFromItsBarIsFound() {
        func report(_ ours: [Double]) -> RatioGuard {
            let bars: [Bar?] = [.ratio(.atMost, 0.2), .ratio(.atLeast, 0.9), .value(.atMost, 1), nil]
            var report = Self.report
            report.rows = []
            for (index, bar) in bars.enumerated() {
                let peer = ours[index] < 0 ? nil : Beside("peer", Percentiles(only: 100))
                let figure = Percentiles(only: abs(ours[index]))
                report.add([Row(.b1, "row \(index)", .microseconds, figure, beside: peer, bar: bar)])
            }
            return RatioGuard(report)
        }
        let good = report([29, 61, 1000, 1000])
        #expect(good.looked == 2 && good.farOff.isEmpty && good.measures.isEmpty)
        let bad = report([31, 59, 1000, 1000])
        #expect(bad.farOff.map(\.title) == ["row 0", "row 1"] && bad.measures == [.b1])
        #expect(bad.confirmed(by: good).isEmpty)
        #expect(bad.confirmed(by: report([31, 61, 0, 0])).map(\.title) == ["row 0"])
        // What could not be measured again is no better.
        var nothing = Self.report
        nothing.rows = []
        #expect(bad.confirmed(by: RatioGuard(nothing)).map(\.title) == ["row 0", "row 1"])
        #expect(report([-10, 100, 0, 0]).farOff.map(\.title) == ["row 0"])
    }

    @Test(arguments: [
        (0, "0.00"), (1.005, "1.00"), (0.254, "0.25"), (9.996, "10.00"), (42.06, "42.1"), (1234.5, "1235"),
        (-0.001, "0.00"), (-3.5, "-3.50"), (.infinity, "-"),
    ])
    func numbersHaveAboutThreeDigits(_ value: Double, _ text: String) {
        #expect(Figure.text(value) == text)
    }

    private static var report: BenchReport {
        let machine = MachineDescription(
            processor: "a processor",
            processors: 2,
            memoryBytes: 24 << 30,
            kernel: "6.1",
            hugePages: "madvise",
            load: 0.04,
            date: "2026-11-26T19:00:00Z"
        )
        var report = BenchReport(machine: machine, isShort: false)
        let pause = Percentiles([60, 70, 90], in: .microseconds) ?? Percentiles(only: 0)
        let peer = Percentiles([300, 320, 400], in: .microseconds) ?? Percentiles(only: 0)
        report.add([
            Row(
                .b1,
                "256 pages",
                .microseconds,
                pause,
                beside: Beside("libxenguest", peer),
                bar: .ratio(.atMost, 0.25)
            ),
            Row(.b8, "256 pages", .checkpointsPerSecond, Percentiles(only: 900), bar: .value(.atLeast, 1000)),
            Row(.b5, "T 10 ms", .microseconds, Percentiles(only: 6000)),
        ])
        report.miss(.b6, "this version does not measure it")
        report.seconds = 12
        return report
    }

    @Test func theTableHasEachRowWithItsVerdict() {
        let text = Self.report.text
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(
            text.hasPrefix(
                "remusd \(BuildVersion.text), 2026-11-26T19:00:00Z\na processor, 2 processors, 24 GiB"
            )
        )
        let pause = lines.first { $0.hasPrefix("B1") } ?? ""
        #expect(pause.contains("60.0 / 70.0 / 90.0") && pause.contains("0.20") && pause.hasSuffix("met"))
        let rate = lines.first { $0.hasPrefix("B8") } ?? ""
        #expect(rate.contains("at least 1000") && rate.hasSuffix("not met"))
        #expect(lines.contains("B6 is missing: this version does not measure it"))
        #expect(text.hasSuffix("1 met, 1 not met, 1 reported, 12 s\n"))
    }

    @Test func theDocumentSaysTheSameAgain() throws {
        let report = Self.report
        let bytes = try ControlJSON.encode(report)
        #expect(try ControlJSON.decode(BenchReport.self, from: bytes) == report)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains(#""verdict":"not met""#) && text.contains(#""measure":"B1""#))
    }

    @Test func aMachineIsDescribedFromWhatTheKernelSays() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC: 9B45 \n\nmodel name : other\n"
        #expect(MachineDescription.field("model name", in: text) == "AMD EPYC: 9B45")
        #expect(MachineDescription.field("flags", in: text) == nil)
        #expect(MachineDescription.chosen(in: "always [madvise] never\n") == "madvise")
        #expect(MachineDescription.chosen(in: "") == "")
        #expect(MachineDescription.current().processors > 0)
    }
}
