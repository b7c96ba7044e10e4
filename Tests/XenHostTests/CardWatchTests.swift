import Testing
import XenHost

@Suite struct CardWatchTests {
    private static let serving = [
        "/local/domain/0/name": "Domain-0",
        "/libxl/5/device/vif/0/backend": "/local/domain/0/backend/vif/5/0",
        "/libxl/5/device/vif/0/frontend": "/local/domain/5/device/vif/0",
        "/local/domain/0/backend/vif/5/0/mac": "00:16:3e:00:00:15",
        "/local/domain/0/backend/vif/5/0/online": "1",
        "/local/domain/0/backend/vif/5/0/state": "4",
        "/local/domain/5/device/vif/0/state": "4",
    ]

    private func standings(_ change: (inout [String: String]) -> Void) -> [CardWatch.Standing]? {
        var values = Self.serving
        change(&values)
        return CardWatch.cards(of: 5, FakeStore(values: values))?.map(\.standing)
    }

    @Test func aCardThatServes() {
        #expect(standings { _ in } == [.serves])
        // Its guest boots.
        #expect(standings { $0["/local/domain/5/device/vif/0/state"] = "1" } == [.serves])
    }

    @Test func aCardThatCloses() {
        #expect(standings { $0["/local/domain/0/backend/vif/5/0/online"] = "0" } == [.closes])
        #expect(standings { $0["/local/domain/0/backend/vif/5/0/state"] = "5" } == [.closes])
        #expect(standings { $0["/local/domain/5/device/vif/0/state"] = "6" } == [.closes])
    }

    /// What libxl does first when a guest is destroyed.
    @Test func aCardWhoseGuestIsBeingDestroyed() {
        let torn = standings {
            $0["/local/domain/5/device/vif/0/state"] = nil
            $0["/local/domain/0/backend/vif/5/0/online"] = "0"
            $0["/local/domain/0/backend/vif/5/0/state"] = "5"
        }
        #expect(torn == [.torn])
    }

    @Test func aGuestThatIsGoneHasNoCards() {
        #expect(standings { $0 = ["/local/domain/0/name": "Domain-0"] } == [])
    }

    @Test func aXenstoredThatDoesNotAnswerSaysNothing() {
        #expect(standings { $0 = [:] } == nil)
    }

    @Test func theRateOfACardIsInBytesASecond() {
        let limited = FakeStore(
            values: Self.serving.merging(["/local/domain/0/backend/vif/5/0/rate": "62500,50000"]) { $1 }
        )
        #expect(GuestDevices(of: 5, limited).cards.map(\.rate) == [1_250_000])
        #expect(GuestDevices(of: 5, FakeStore(values: Self.serving)).cards.map(\.rate) == [nil])
    }
}
