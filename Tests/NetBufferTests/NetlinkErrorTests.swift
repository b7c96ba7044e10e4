import NetBuffer
import Testing

@Suite struct NetlinkErrorTests {
    @Test func saysWhatFailedAndWhy() {
        // NLE_OBJ_NOTFOUND is 12 in netlink/errno.h.
        #expect("\(NetlinkError("find ifb0", code: -12))" == "cannot find ifb0: Object not found")
    }
}
