import Daemon
import Testing

@Suite struct StatusTextTests {
    static var primary: GuestStatus {
        var status = GuestStatus(
            guest: "web1",
            uuid: "0f0e0d0c-0b0a-4908-8706-050403020100",
            role: .primary,
            state: .protected,
            protected: true,
            generation: 3,
            session: "ab12",
            epoch: .init(sent: 48, acked: 47, committed: 47),
            lastAckAgeMs: 38,
            heldBytes: 12 << 10
        )
        status.peer = "127.0.0.1:7070"
        status.address = "127.0.0.1:6400"
        status.intervalMs = 50
        status.pages = .init(dirtyLast: 120, sentTotal: 65_536)
        status.pause = .init(p50: 4100, p99: 9800, last: 3900)
        status.outputLatencyUs = .init(p50: 52_000, p99: 61_000)
        status.dirtyTracking = "pagemap"
        status.memoryBytes = 256 << 20
        status.populatedBytes = 110 << 20
        status.since = "2026-11-23T09:04:00Z"
        return status
    }

    static var alone: GuestStatus {
        GuestStatus(
            guest: "database",
            role: .primary,
            state: .alone,
            generation: 12,
            epoch: .init(sent: 9, acked: 8, committed: 8),
            lastAckAgeMs: 250_000,
            reasons: ["the standby has not answered for 10s", "continued alone at generation 12"]
        )
    }

    static var image: GuestStatus {
        var status = GuestStatus(
            guest: "web1",
            role: .standby,
            state: .standby,
            protected: true,
            generation: 3,
            epoch: .init(sent: 0, acked: 47, committed: 47),
            lastAckAgeMs: 40
        )
        status.imageAgeMs = 41
        status.memoryUsedBytes = 110 << 20
        status.memoryCeilingBytes = 8 << 30
        return status
    }

    @Test func whatAPlugHoldsAndDropped() {
        var status = Self.primary
        #expect(StatusText.paragraph(status).contains("12KiB held, waits p50"))
        (status.heldPackets, status.droppedPackets, status.heldPercent) = (1, 0, 0)
        #expect(StatusText.paragraph(status).contains("12KiB held in 1 packet, waits p50"))
        (status.heldPackets, status.droppedPackets, status.heldPercent) = (3, 2, 60)
        #expect(
            StatusText.paragraph(status).contains(
                "12KiB held in 3 packets (60% of what may be), 2 packets DROPPED, waits p50"
            )
        )
    }

    @Test func table() {
        #expect(
            StatusText.table([Self.alone, Self.primary, Self.image]) == """
                NAME      ROLE     STATE      PROTECTED  GEN  EPOCH  ACK-AGE  HELD   REASON
                database  primary  alone      NO         12   8      4m10s    0B     the standby has not answered for 10s
                web1      primary  protected  yes        3    47     38ms     12KiB
                web1      standby  standby    yes        3    47     40ms     -
                NOT PROTECTED: database (primary alone)

                """
        )
    }

    /// Output of a primary that cannot be asked: 0B would say that nothing waits.
    @Test func unknownOutputIsNotZero() throws {
        var status = Self.alone
        status.heldBytes = nil
        #expect(StatusText.table([status]).contains("4m10s    -     the standby"))
        #expect(!StatusText.paragraph(status).contains("held"))
        let json = String(decoding: try ControlJSON.encode(status), as: UTF8.self)
        #expect(json.contains(#""held_bytes":null"#))
        let dead = GuestStatus(guest: "a", role: .primary, state: .dead, heldBytes: nil)
        #expect(StatusText.paragraph(dead) == "a is NOT PROTECTED (primary, dead)\n  generation  0\n")
        let guests = EmbeddedGuestText.table([.unanswered("web1", state: "dead")])
        #expect(guests.contains("web1  -    dead"))
        #expect(!guests.contains("0B"))
    }

    @Test func theTransportIsSaidWhereThereIsOne() throws {
        var status = Self.primary
        status.transport = "tls1.3/TLS_AES_128_GCM_SHA256"
        #expect(StatusText.paragraph(status).contains("\n  transport   tls1.3/TLS_AES_128_GCM_SHA256\n"))
        let json = String(decoding: try ControlJSON.encode(status), as: UTF8.self)
        #expect(json.contains(#""transport":"tls1.3/TLS_AES_128_GCM_SHA256""#))
        #expect(!StatusText.paragraph(Self.primary).contains("transport"))
    }

    @Test func nothingIsLoudWhereAllIsWell() {
        #expect(!StatusText.table([Self.primary]).contains("NOT"))
    }

    @Test func paragraphOfAProtectedGuest() {
        #expect(
            StatusText.paragraph(Self.primary) == """
                web1 is PROTECTED (primary, protected since 2026-11-23T09:04:00Z)
                  guest       0f0e0d0c-0b0a-4908-8706-050403020100, at 127.0.0.1:6400, 256MiB of memory, 110MiB populated
                  peer        127.0.0.1:7070
                  generation  3, session ab12
                  epoch       sent 48, acknowledged 47, committed 47, last acknowledgement 38ms ago, one every 50ms
                  output      12KiB held, waits p50 52ms, p99 61ms
                  pause       p50 4.1ms, p99 9.8ms, last 3.9ms
                  pages       120 dirty in the last epoch, 65536 sent in all, found by pagemap

                """
        )
    }

    @Test func paragraphOfAGuestThatRunsAlone() {
        #expect(
            StatusText.paragraph(Self.alone) == """
                database is UNPROTECTED, it runs alone (primary, alone)
                  ! the standby has not answered for 10s
                  ! continued alone at generation 12
                  generation  12
                  epoch       sent 9, acknowledged 8, committed 8, last acknowledgement 4m10s ago
                  output      0B held

                """
        )
    }

    @Test func paragraphOfAnImage() {
        #expect(
            StatusText.paragraph(Self.image) == """
                web1 is PROTECTED (standby, standby)
                  generation  3
                  epoch       sent 0, acknowledged 47, committed 47, last acknowledgement 40ms ago
                  image       committed 41ms ago, may not be activated by itself, all images use 110MiB of 8GiB

                """
        )
    }

    @Test func colourOnlyWhereAsked() {
        #expect(!StatusText.table([Self.alone]).contains("\u{1B}"))
        let painted = StatusText.table([Self.alone], style: TextStyle(color: true))
        #expect(painted.contains("\u{1B}[1;31mNO       \u{1B}[0m"))
        #expect(painted.contains("\u{1B}[1;31mNOT PROTECTED: \u{1B}[0mdatabase"))
    }

    /// Every state that is not a planned end says so in capitals when it is not protected.
    @Test(arguments: GuestState.allCases, GuestRole.allCases)
    func unprotectedIsLoud(state: GuestState, role: GuestRole) {
        let status = GuestStatus(guest: "a", role: role, state: state)
        let quiet: Set<GuestState> = role == .primary ? [.ended, .dropped, .empty] : [.dropped, .empty]
        #expect(status.isAtRisk == !quiet.contains(state))
        #expect(status.headline.contains("PROTECTED") == !quiet.contains(state))
    }

    @Test(arguments: GuestState.allCases)
    func waitGoals(state: GuestState) {
        let primary = GuestStatus(guest: "a", role: .primary, state: state, protected: state == .protected)
        let standby = GuestStatus(guest: "a", role: .standby, state: state, protected: state == .standby)
        #expect(WaitGoal.protected.isReached(by: [standby, primary]) == (state == .protected))
        #expect(WaitGoal.standby.isReached(by: [primary, standby]) == (state == .standby))
        #expect(WaitGoal.active.isReached(by: [primary, standby]) == (state == .active))
        #expect(WaitGoal.peerLost.isReached(by: [primary]) == (state == .peerLost))
        #expect(WaitGoal.alone.isReached(by: [standby, primary]) == (state == .alone))
        #expect(WaitGoal.outdated.isReached(by: [primary]) == (state == .outdated))
        #expect(!WaitGoal.active.isReached(by: [primary]))
        #expect(!WaitGoal.alone.isReached(by: [standby]))
        #expect(!WaitGoal.protected.isReached(by: [standby]))
        for goal in WaitGoal.allCases { #expect(!goal.isReached(by: [])) }
    }
}
