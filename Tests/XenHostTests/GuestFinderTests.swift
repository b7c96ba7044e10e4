import Checkpoint
import Testing
import XenHost

@Suite struct GuestFinderTests {
    private let one = GuestUUID(high: 1, low: 1), two = GuestUUID(high: 2, low: 2)
    private let store = FakeStore(values: [
        "/local/domain/3/name": "web1", "/local/domain/7/name": "web2", "/local/domain/9/name": "web1",
    ])

    private func find(_ text: String, dying: Bool = true) throws -> FoundGuest {
        let domains = [
            Domain(id: 3, uuid: one), Domain(id: 7, uuid: two),
            Domain(id: 9, uuid: one, state: dying ? .gone : .running),
        ]
        return try GuestFinder.choose(text, domains, store)
    }

    @Test func byNameDomidAndUUID() throws {
        #expect(try find("web1") == FoundGuest(domain: 3, uuid: one, name: "web1"))
        #expect(try find("7") == FoundGuest(domain: 7, uuid: two, name: "web2"))
        #expect(try find(two.description).domain == 7)
    }

    @Test func saysWhatIsWrong() {
        func reason(_ text: String, dying: Bool = true) -> String {
            do {
                _ = try find(text, dying: dying)
                return ""
            } catch { return "\(error)" }
        }
        #expect(reason("web3").contains("no guest of this name"))
        #expect(reason("0").contains("the host itself"))
        #expect(reason("9").contains("no domain 9"))
        #expect(reason("00000000-0000-0000-0000-000000000000").contains("no guest with this UUID"))
        #expect(reason("web1", dying: false).contains("domains 3, 9 all have this name"))
    }
}
