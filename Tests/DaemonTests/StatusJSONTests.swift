import Daemon
import Testing

@Suite struct StatusJSONTests {
    @Test func theKeysOfTheContractAreAlwaysThere() throws {
        let status = GuestStatus(guest: "web1", role: .standby, state: .peerLost)
        #expect(
            String(decoding: try ControlJSON.encode(status), as: UTF8.self)
                == #"{"epoch":{"acked":null,"committed":null,"sent":null},"generation":0,"guest":"web1","held_bytes":0,"#
                + #""last_ack_age_ms":null,"may_activate":false,"protected":false,"reasons":[],"role":"standby","#
                + #""schema":"remusd.status/1","session":null,"state":"peer-lost","uuid":""}"#
        )
    }

    @Test func aFullOneInSnakeCase() throws {
        var status = StatusTextTests.primary
        status.sync = .init(donePages: 1, totalPages: 2)
        status.memoryCeilingBytes = 5
        status.memoryUsedBytes = 4
        status.imageAgeMs = 3
        status.engine = "libxenguest"
        let text = try ControlJSON.pretty(status)
        #expect(
            text == """
                {
                  "address" : "127.0.0.1:6400",
                  "dirty_tracking" : "pagemap",
                  "engine" : "libxenguest",
                  "epoch" : {
                    "acked" : 47,
                    "committed" : 47,
                    "sent" : 48
                  },
                  "generation" : 3,
                  "guest" : "web1",
                  "held_bytes" : 12288,
                  "image_age_ms" : 3,
                  "interval_ms" : 50,
                  "last_ack_age_ms" : 38,
                  "may_activate" : false,
                  "memory_bytes" : 268435456,
                  "memory_ceiling_bytes" : 5,
                  "memory_used_bytes" : 4,
                  "output_latency_us" : {
                    "p50" : 52000,
                    "p99" : 61000
                  },
                  "pages" : {
                    "dirty_last" : 120,
                    "sent_total" : 65536
                  },
                  "pause" : {
                    "last_us" : 3900,
                    "p50_us" : 4100,
                    "p99_us" : 9800
                  },
                  "peer" : "127.0.0.1:7070",
                  "populated_bytes" : 115343360,
                  "protected" : true,
                  "reasons" : [

                  ],
                  "role" : "primary",
                  "schema" : "remusd.status/1",
                  "session" : "ab12",
                  "since" : "2026-11-23T09:04:00Z",
                  "state" : "protected",
                  "sync" : {
                    "done_pages" : 1,
                    "total_pages" : 2
                  },
                  "uuid" : "0f0e0d0c-0b0a-4908-8706-050403020100"
                }
                """
        )
        #expect(try ControlJSON.decode(GuestStatus.self, from: Array(text.utf8)) == status)
    }

    @Test func aNewerOnesKeysAreSkipped() throws {
        var text = String(decoding: try ControlJSON.encode(StatusTextTests.primary), as: UTF8.self)
        text = #"{"another":{"kind":"etcd"},"# + text.dropFirst()
        #expect(try ControlJSON.decode(GuestStatus.self, from: Array(text.utf8)) == StatusTextTests.primary)
    }

    @Test func activateMessages() throws {
        let request = ActivateRequest(
            confirmFenced: "a",
            ifGeneration: 3,
            acceptRollback: true,
            listen: "[::1]:1",
            force: true
        )
        let text = String(decoding: try ControlJSON.encode(request), as: UTF8.self)
        #expect(
            text
                == #"{"accept_rollback":true,"confirm_fenced":"a","dry_run":false,"force":true,"if_generation":3,"listen":"[::1]:1"}"#
        )
        #expect(try ControlJSON.decode(ActivateRequest.self, from: Array(text.utf8)) == request)
        #expect(try ControlJSON.decode(ActivateRequest.self, from: Array("{}".utf8)) == ActivateRequest())
        let reply = ActivateReply(
            guest: "web1",
            outcome: .mayRollBack,
            generation: 3,
            imageAgeMs: 9,
            message: "m"
        )
        let answer = try ControlJSON.encode(reply)
        #expect(
            String(decoding: answer, as: UTF8.self)
                == #"{"exit_code":16,"generation":3,"guest":"web1","image_age_ms":9,"message":"m","#
                + #""outcome":"may_roll_back","reasons":[],"schema":"remusd.activate/1"}"#
        )
        #expect(try ControlJSON.decode(ActivateReply.self, from: answer) == reply)
    }

    @Test func exitCodesOfAWordAreAContractToo() throws {
        let codes = Dictionary(uniqueKeysWithValues: WordOutcome.allCases.map { ($0.rawValue, $0.exitCode) })
        #expect(
            codes == [
                "done": 0, "nothing_to_do": 0, "other_alive": 10, "wrong_host": 13, "outdated": 14,
                "pending": 75, "try_again": 75,
            ]
        )
        let reply = WordReply(guest: "web1", outcome: .wrongHost, generation: 3, message: "m")
        let text = try ControlJSON.encode(reply)
        #expect(
            String(decoding: text, as: UTF8.self)
                == #"{"exit_code":13,"generation":3,"guest":"web1","message":"m","outcome":"wrong_host"}"#
        )
        #expect(try ControlJSON.decode(WordReply.self, from: text) == reply)
    }

    @Test func exitCodesAreAContract() {
        let codes = Dictionary(
            uniqueKeysWithValues: ActivateOutcome.allCases.map { ($0.rawValue, $0.exitCode) }
        )
        #expect(
            codes == [
                "active": 0, "would_activate": 0, "primary_alive": 10, "arbiter_denied": 11,
                "no_consistent_image": 12,
                "fencing_unconfirmed": 13, "generation_mismatch": 14, "image_dropped": 14,
                "resources_missing": 15,
                "may_roll_back": 16, "vetoed": 17, "usage": 64, "try_again": 75,
                "arbiter_unavailable": 75,
            ]
        )
    }

    @Test func aPlugIsSpeltAsRemusdPlugSays() throws {
        let text =
            #"{"device":"rmd5.0a","domain":5,"dropped":1,"held_bytes":1500,"held_packets":2,"interface":"vif5.0","#
            + #""schema":"remusd.plug/1","state":"closed"}"#
        let report = try ControlJSON.decode(PlugReport.self, from: Array(text.utf8))
        #expect(report.heldBytes == 1500)
        #expect(String(decoding: try ControlJSON.encode(report), as: UTF8.self) == text)
    }
}
