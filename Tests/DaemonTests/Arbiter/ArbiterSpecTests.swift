import Checkpoint
import Testing

@testable import Daemon

/// `--arbiter`, as it is written.
@Suite struct ArbiterSpecTests {
    @Test(arguments: [
        ("prefer-primary", "prefer-primary"), ("manual", "manual"),
        ("file:/srv/remusd", "file:/srv/remusd"), ("file://srv///remusd/", "file:/srv/remusd"),
        ("exec:/usr/local/sbin/fence-peer", "exec:/usr/local/sbin/fence-peer"),
        ("etcd:http://10.0.0.5:2379", "etcd:http://10.0.0.5:2379/remusd"),
        ("etcd:http://10.0.0.5", "etcd:http://10.0.0.5:2379/remusd"),
        ("etcd:http://B:2379,http://a:2379/", "etcd:http://a:2379,http://b:2379/remusd"),
        ("etcd:http://a,http://a:2379/lab/one/", "etcd:http://a:2379/lab/one"),
        ("etcd:http://[fe80::1]:1,http://[::2]", "etcd:http://[::2]:2379,http://[fe80::1]:1/remusd"),
        (
            "etcd:https://a:1,https://b:2/p?ca=/etc/ca.pem&cert=/etc/a,b.pem&key=/etc/k.pem",
            "etcd:https://a:1,https://b:2/p"
        ),
    ])
    func hasOneNameForBothSides(text: String, name: String) throws {
        let spec = try ArbiterSpec(parsing: text)
        #expect(spec.name == name)
        #expect(try ArbiterSpec(parsing: spec.name).name == name, "its name can be parsed, and is its name")
        #expect(makeArbiter(spec)?.name ?? "prefer-primary" == name)
    }

    @Test func keepsItsFilesAndItsOrder() throws {
        let text = "etcd:https://b,https://a?ca=/c.pem&key=/k.pem&cert=/x.pem"
        guard case .etcd(let etcd) = try ArbiterSpec(parsing: text) else {
            Issue.record("not etcd")
            return
        }
        #expect(etcd.endpoints.map(\.host) == ["b", "a"])
        #expect(etcd.authorities == "/c.pem")
        #expect(etcd.certificate == "/x.pem")
        #expect(etcd.key == "/k.pem")
    }

    @Test func saysWhatCanDecide() throws {
        for text in ["prefer-primary", "manual"] { #expect(try !ArbiterSpec(parsing: text).canDecide) }
        for text in ["file:/d", "exec:/p", "etcd:http://a"] {
            #expect(try ArbiterSpec(parsing: text).canDecide)
        }
        #expect(makeArbiter(.preferPrimary) == nil)
    }

    @Test(arguments: [
        ("", "write etcd:http://HOST:2379"), ("etcd", "write etcd:http://HOST:2379"),
        ("None", "prefer-primary"), ("file:", "an absolute path"), ("file:/", "an absolute path"),
        ("file:srv", "an absolute path"), ("exec:fence", "like exec:/srv"),
        ("file:/srv/../etc", "without . and .."), ("etcd:", "begin each address"),
        ("etcd:10.0.0.5:2379", "begin each address"), ("etcd:http://", "is no HOST:PORT"),
        ("etcd:http://a:0", "is no HOST:PORT"), ("etcd:http://a:70000", "is no HOST:PORT"),
        ("etcd:http://a:+1", "is no HOST:PORT"), ("etcd:http://u@a", "is no HOST:PORT"),
        ("etcd:http://[::1", "is no HOST:PORT"), ("etcd:http://[a]", "is no HOST:PORT"),
        ("etcd:http://::1:2379", "is no HOST:PORT"), ("etcd:http://a,", "begin each address"),
        ("etcd:http://a/p,http://b", "after the last address"), ("etcd:http://a/p q", "letters, digits"),
        ("etcd:http://a,https://b", "for all addresses, or for none"),
        ("etcd:http://a?ca=/c", "are for https"), ("etcd:https://a?cert=/c", "belong together"),
        ("etcd:https://a?ca=c", "after ? come"), ("etcd:https://a?", "after ? come"),
        ("etcd:https://a?ca=/c&ca=/d", "is there twice"), ("etcd:https://a?tls=/c", "after ? come"),
    ])
    func saysWhatIsWrong(text: String, words: String) throws {
        let error = #expect(throws: ValueError.self) { try ArbiterSpec(parsing: text) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(error?.text == text)
    }

    @Test func aPersonNeverGrants() {
        let request = ArbiterRace.request(.random(), from: 1, id: 1)
        guard case .unavailable(let reason) = ManualArbiter().ask(request, deadline: .seconds(1)) else {
            Issue.record("a person granted something")
            return
        }
        #expect(reason.contains("remusd continue GUEST --confirm-fenced HOST"))
        #expect(reason.contains("remusd activate GUEST --confirm-fenced HOST"))
        #expect(throws: ArbiterError.self) {
            try ManualArbiter().record(of: request.guest, deadline: .seconds(1))
        }
    }
}
