package foreign

// ovfTemplate is the OVF 1.0 that WriteOVA writes. The elements of an Item stand in
// the order of the alphabet, as its schema wants; VirtualBox reads Caption, VMware
// ElementName; the unit of memory is the one spelling that VirtualBox knows.
const ovfTemplate = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References>
{{- range .Disks}}
  <File ovf:id="file{{.Number}}" ovf:href="{{x .File}}" ovf:size="{{.Size}}"/>
{{- end}}
 </References>
 <DiskSection>
  <Info>The virtual disks</Info>
{{- range .Disks}}
  <Disk ovf:diskId="disk{{.Number}}" ovf:fileRef="file{{.Number}}" ovf:capacity="{{.Capacity}}" ovf:capacityAllocationUnits="byte" ovf:format="{{vmdk}}"/>
{{- end}}
 </DiskSection>
{{- if .NICs}}
 <NetworkSection>
  <Info>The logical networks</Info>
  <Network ovf:name="NAT">
   <Description>The network of the machine</Description>
  </Network>
 </NetworkSection>
{{- end}}
 <VirtualSystem ovf:id="{{x .Name}}">
  <Info>A virtual machine</Info>
  <Name>{{x .Name}}</Name>
  <OperatingSystemSection ovf:id="101" vmw:osType="otherLinux64Guest">
   <Info>The kind of installed guest operating system</Info>
   <Description>Linux_64</Description>
  </OperatingSystemSection>
  <VirtualHardwareSection>
   <Info>Virtual hardware</Info>
   <System>
    <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
    <vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemIdentifier>{{x .Name}}</vssd:VirtualSystemIdentifier>
    <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
   </System>
   <Item>
    <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
    <rasd:Caption>{{.CPUs}} virtual CPU(s)</rasd:Caption>
    <rasd:Description>Number of virtual CPUs</rasd:Description>
    <rasd:ElementName>{{.CPUs}} virtual CPU(s)</rasd:ElementName>
    <rasd:InstanceID>1</rasd:InstanceID>
    <rasd:ResourceType>3</rasd:ResourceType>
    <rasd:VirtualQuantity>{{.CPUs}}</rasd:VirtualQuantity>
   </Item>
   <Item>
    <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
    <rasd:Caption>{{.Memory}} MB of memory</rasd:Caption>
    <rasd:Description>Memory Size</rasd:Description>
    <rasd:ElementName>{{.Memory}} MB of memory</rasd:ElementName>
    <rasd:InstanceID>2</rasd:InstanceID>
    <rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>{{.Memory}}</rasd:VirtualQuantity>
   </Item>
{{- range .Controllers}}
   <Item>
    <rasd:Address>{{.Address}}</rasd:Address>
    <rasd:Caption>{{.Name}}</rasd:Caption>
    <rasd:Description>Disk controller</rasd:Description>
    <rasd:ElementName>{{.Name}}</rasd:ElementName>
    <rasd:InstanceID>{{.ID}}</rasd:InstanceID>
    <rasd:ResourceSubType>{{.SubType}}</rasd:ResourceSubType>
    <rasd:ResourceType>{{.Type}}</rasd:ResourceType>
   </Item>
{{- end}}
{{- range .Disks}}
   <Item>
    <rasd:AddressOnParent>{{.Address}}</rasd:AddressOnParent>
    <rasd:Caption>disk{{.Number}}</rasd:Caption>
    <rasd:Description>Disk Image</rasd:Description>
    <rasd:ElementName>disk{{.Number}}</rasd:ElementName>
    <rasd:HostResource>ovf:/disk/disk{{.Number}}</rasd:HostResource>
    <rasd:InstanceID>{{.ID}}</rasd:InstanceID>
    <rasd:Parent>{{.Parent}}</rasd:Parent>
    <rasd:ResourceType>17</rasd:ResourceType>
   </Item>
{{- end}}
{{- range .NICs}}
   <Item>
    <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
    <rasd:Caption>Ethernet adapter {{.Number}}</rasd:Caption>
    <rasd:Connection>NAT</rasd:Connection>
    <rasd:ElementName>Ethernet adapter {{.Number}}</rasd:ElementName>
    <rasd:InstanceID>{{.ID}}</rasd:InstanceID>
    <rasd:ResourceSubType>{{.SubType}}</rasd:ResourceSubType>
    <rasd:ResourceType>10</rasd:ResourceType>
   </Item>
{{- end}}
{{- if .UEFI}}
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
{{- end}}
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
`
