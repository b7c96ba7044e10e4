/* Usage: beacon INTERFACE MILLISECONDS
 * Says a rising number each so many milliseconds, each time in every kind of packet that output commit must hold: UDP over
 * IPv4 (broadcast) and over IPv6 (all nodes), an ARP announcement, a frame of a type that nobody knows, and the same with
 * a VLAN tag. Whoever watches the wire sees each number once at most; one that comes again, or is lower than one before, is
 * a second history. Each packet ends with 16 bytes: "rmBEACON" and the number, its highest byte first. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 7004, EXPERIMENTAL = 0x88b5 /* IEEE 802, Local Experimental Ethertype 1 */, MARK = 16 };

static int raw, index_of;
static unsigned char mac[6];

static void mark(unsigned char *at, uint64_t number) {
    memcpy(at, "rmBEACON", 8);
    for (int i = 0; i < 8; i++) at[8 + i] = (unsigned char)(number >> (56 - 8 * i));
}

/* A broadcast frame: types and body as given, the mark last. What cannot be sent is lost, as on any wire. */
static void send_frame(const unsigned char *body, size_t length, uint64_t number) {
    unsigned char frame[128];
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = index_of, .sll_halen = 6};
    memset(to.sll_addr, 0xff, 6);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, body, length);
    mark(frame + 12 + length, number);
    sendto(raw, frame, 12 + length + MARK, 0, (struct sockaddr *)&to, sizeof to);
}

int main(int count, char **words) {
    if (count != 3) return 64;
    struct ifreq request = {0};
    strncpy(request.ifr_name, words[1], IFNAMSIZ - 1);
    index_of = (int)if_nametoindex(words[1]);
    raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    int four = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), six = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
    if (!index_of || raw < 0 || four < 0 || six < 0 || ioctl(raw, SIOCGIFHWADDR, &request)) {
        perror("beacon");
        return 1;
    }
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    struct in_addr own = {0};
    if (!ioctl(four, SIOCGIFADDR, &request)) own = ((struct sockaddr_in *)&request.ifr_addr)->sin_addr;
    setsockopt(four, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    setsockopt(four, SOL_SOCKET, SO_BINDTODEVICE, words[1], (socklen_t)strlen(words[1]));
    struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = INADDR_BROADCAST};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT), .sin6_scope_id = (uint32_t)index_of};
    inet_pton(AF_INET6, "ff02::1", &to6.sin6_addr);
    /* RFC 826 and RFC 5227, section 3: an announcement asks for the sender's own address. */
    unsigned char arp[] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    memcpy(arp + 10, mac, 6);
    memcpy(arp + 16, &own, 4);
    memcpy(arp + 26, &own, 4);
    const unsigned char unknown[] = {EXPERIMENTAL >> 8, EXPERIMENTAL & 0xff};
    const unsigned char tagged[] = {0x81, 0x00, 0, 7, EXPERIMENTAL >> 8, EXPERIMENTAL & 0xff};
    for (uint64_t number = 1;; number++) {
        unsigned char text[MARK];
        mark(text, number);
        sendto(four, text, MARK, 0, (struct sockaddr *)&to4, sizeof to4);
        sendto(six, text, MARK, 0, (struct sockaddr *)&to6, sizeof to6);
        send_frame(arp, sizeof arp, number);
        send_frame(unknown, sizeof unknown, number);
        send_frame(tagged, sizeof tagged, number);
        usleep((useconds_t)atoi(words[2]) * 1000);
    }
}
