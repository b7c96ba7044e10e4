import Checkpoint
import Foundation
import Synchronization
import SystemSupport
import XenHost

/// A host's Xen as a folder: `xl` is a script there, and the domains are the lines of a file that it writes,
/// each `DOMID UUID paused|running|shutdown-REASON`.
final class ScriptedXen: XenDomains, Sendable {
    let folder: URL
    let free = Mutex<UInt64>(1 << 20)
    let trouble = Mutex<String?>(nil)

    static let uuid = GuestUUID(high: 0x1111_2222_3333_4444, low: 0x5555_6666_7777_8888)

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "remusd-xen-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try write(Self.script, "xl")
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path("xl"))
        try awaitUse()
        try write(Self.json(), "template.json")
        try write("name = 'db'\nmemory = 128\n", "db.cfg")
        try write("", "domains")
        try FileManager.default.createDirectory(
            at: folder.appending(path: "net/xenbr0"),
            withIntermediateDirectories: true
        )
    }

    /// Another test's child may have the file open for writing until it executes its own program (execve(2), ETXTBSY).
    private func awaitUse() throws {
        for _ in 0..<1000 {
            do throws(SystemError) {
                ChildProcess.reap(try ChildProcess.spawn(path("xl"), ["probe"]))
                return
            } catch {
                guard error.code == ETXTBSY else { throw error }
                usleep(10_000)
            }
        }
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func path(_ name: String) -> String { folder.appending(path: name).path }
    func write(_ text: String, _ name: String) throws {
        try Data(text.utf8).write(to: folder.appending(path: name))
    }
    func text(_ name: String) -> String {
        (try? String(contentsOf: folder.appending(path: name), encoding: .utf8)) ?? ""
    }

    /// What xl was called with, one element a call.
    var calls: [String] { text("calls").split(separator: "\n").map(String.init) }

    /// A libxl configuration of a guest with one vif and one disk.
    static func json(
        type: String = "pvh",
        vcpus: Int = 1,
        memory: Int = 131_072,
        mac: String? = "00:16:3E:00:00:01",
        disk: String = "xvda"
    ) -> String {
        let nic = mac.map {
            "{\"devid\": 0, \"mac\": \"\($0)\", \"bridge\": \"xenbr0\", \"ip\": \"10.0.0.5\"}"
        }
        return """
            {"c_info": {"type": "\(type)", "name": "db", "uuid": "\(uuid)", "run_hotplug_scripts": "True"},
             "b_info": {"max_vcpus": \(vcpus), "avail_vcpus": [0], "max_memkb": \(memory), "target_memkb": \(memory)},
             "disks": [{"vdev": "\(disk)", "pdev_path": "/dev/x", "readwrite": 1}],
             "nics": [\(nic ?? "{\"devid\": 0}")], "on_reboot": "restart"}
            """
    }

    /// The script: `mode` says how it misbehaves.
    private static let script = """
        #!/bin/sh
        dir=$(dirname "$0")
        [ "$1" != probe ] || exit 0
        echo "$*" >>"$dir/calls"
        hang() { sleep 1000 & echo "$! $$" >>"$dir/pids"; wait; }
        mode=$(cat "$dir/mode" 2>/dev/null)
        for image; do :; done
        case "$1-$mode" in
            create-unreadable) echo "$3:2: config parsing error near 'memory'" >&2; exit 1 ;;
            create-*) cat "$dir/template.json" ;;
            restore-at-once) printf 'Loading new save file\\nxl: not enough memory\\n' >&2; exit 3 ;;
            restore-takes-nothing) echo waiting >&2; hang ;;
            restore-hangs) cat "$image" >/dev/null; hang ;;
            restore-midway) head -c 100000 "$image" >/dev/null; echo 'about to crash' >&2; kill -9 $$ ;;
            restore-half) cat "$image" >/dev/null; echo "7 $(cat "$dir/uuid") paused" >"$dir/domains"; exit 1 ;;
            restore-nothing) cat "$image" >/dev/null ;;
            restore-*) cat "$image" >"$dir/image"; echo "7 $(cat "$dir/uuid") paused" >"$dir/domains" ;;
            unpause-stays-paused) echo 'unpause failed' >&2; exit 1 ;;
            unpause-*)
                sed -i s/paused/running/ "$dir/domains"
                [ "$mode" != unpause-complains ] || exit 1 ;;
            destroy-*) : >"$dir/domains" ;;
        esac
        """

    // MARK: XenDomains

    var whyNot: String? { trouble.withLock { $0 } }

    func domains() throws(XenError) -> [DomainState] {
        if let trouble = trouble.withLock({ $0 }) { throw XenError(trouble) }
        return text("domains").split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ").map(String.init)
            guard fields.count == 3, let domid = UInt32(fields[0]), let uuid = GuestUUID(fields[1]) else {
                return nil
            }
            let reason = fields[2].hasPrefix("shutdown-") ? UInt8(fields[2].dropFirst(9)) : nil
            return DomainState(
                domid: domid,
                uuid: uuid,
                isPaused: fields[2] == "paused",
                shutdownReason: reason
            )
        }
    }

    func domid(named name: String) -> UInt32? { UInt32(text("named-\(name)")) }
    func freeMemory() throws(XenError) -> UInt64 { free.withLock { $0 } }
    func neededMemory(_ json: [UInt8]) throws(XenError) -> UInt64 { 131_072 + 4096 }
}
