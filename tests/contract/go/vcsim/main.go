// Command vcsim serves govmomi's vCenter simulator on loopback, for the contract tests.
//
// govmomi keeps its own vcsim in a nested module that not every module proxy carries; the simulator itself is in the
// main module. This takes the flags that the tests use, prints the address like the original, and ends with its
// standard input or on SIGTERM.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/simulator/vpx"
)

func main() {
	listen := flag.String("l", "127.0.0.1:0", "listen address")
	isESX := flag.Bool("esx", false, "simulate a standalone ESXi host")
	vms := flag.Int("vm", 2, "virtual machines per resource pool")
	user := flag.String("username", "", "the only user that may log in (any, when empty)")
	password := flag.String("password", "", "that user's password")
	version := flag.String("api-version", "8.0.3.0", "API version to announce")
	onStdin := flag.Bool("stdinexit", false, "end when standard input ends")
	flag.Parse()

	model := simulator.VPX()
	content := &vpx.ServiceContent
	if *isESX {
		model = simulator.ESX()
		content = &esx.ServiceContent
	}
	model.Machine = *vms
	content.About.ApiVersion = *version
	model.ServiceContent.About.ApiVersion = *version
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: *listen}
	if *user != "" {
		model.Service.Listen.User = url.UserPassword(*user, *password)
	}
	server := model.Service.NewServer()
	fmt.Printf("export GOVC_URL=%s GOVC_SIM_PID=%d\n", server.URL, os.Getpid())

	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGINT, syscall.SIGTERM)
	if *onStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			done <- syscall.SIGTERM
		}()
	}
	<-done
	server.Close()
	model.Remove()
}
