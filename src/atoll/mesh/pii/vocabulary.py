"""Which names of columns mean personal data: English, German, Portuguese, Spanish, SAP's fields.

Phrases are written without separators and accents, as `naming` joins the words of a name; German
umlauts are here both ways, as a and as ae.
"""

from __future__ import annotations

from atoll.mesh.pii.model import Kind

# Who works: beside a number it is theirs.
WORKERS = """
    employee emp worker staff operator driver inspector technician welder supervisor reviewer
    approver foreman planner mitarbeiter mitarbeiterin fahrer werker bediener prufer pruefer
    techniker schweisser meister empregado funcionario colaborador trabalhador operador condutor
    motorista inspetor tecnico soldador empleado trabajador operario conductor
"""
NUMBERS = "id nr no num number nummer numero code cod codigo matricula"
NAMES = "name nm nom nome nombre"
# Whoever has a role may be named in a column that has nothing but its name.
ROLES = """
    contact kontakt contacto contato initials responsible verantwortlicher responsavel responsable
    manager author autor requester patient passenger spouse conjuge ehepartner owner
"""
# Each says something only where nothing but persons stands beside it: the direction of a rotation
# and the address of a customer are one word in Spanish.
ALONE = WORKERS + ROLES + " address adresse direccion endereco kennzeichen placa mobile handy note"
# A table with a column of such a name is about persons.
CUES = """
    sex gender sexo genero geschlecht gesch maritalstatus estadocivil familienstand famst salary
    salario gehalt nationality nationalitaet nationalitat nacionalidade nacionalidad natio
    birthplace geburtsort occupation hiredate dateofhire
"""
# By itself a reason to propose.
STRONG: dict[Kind, str] = {
    Kind.PERSON_NAME: """
        firstname lastname contactperson kontaktperson pessoacontacto personacontacto surname
        forename givenname familyname middlename fullname maidenname birthname fname lname firstnm
        lastnm nickname signatory emergencycontact nextofkin accountholder patronymic salesrep
        salesperson vorname nachname familienname zuname rufname geburtsname vollname unterzeichner
        kontoinhaber sachbearbeiter sachbearbeiterin ansprechpartner primeironome ultimonome
        nomeproprio sobrenome apelido apelidos nomecompleto titularconta primernombre segundonombre
        primerapellido segundoapellido apellido apepaterno apematerno apellidopaterno
        apellidomaterno nombres nombrecompleto nombreyapellidos titularcuenta nachn vorna midnm
        rufnm nach2 cname ename namef namel namefirst namelast namev nchmc vnamc nametext verkf
        namemiddle
    """,
    Kind.EMAIL: """
        email emailaddress emailaddr mailaddress mailaddr emailid emailadresse mailadresse
        electronicmail correio correioeletronico enderecoemail correo correoelectronico
        direccioncorreo smtpaddr smtpaddress usridlong emailaddr1
    """,
    Kind.PHONE: """
        phone phonenumber phoneno phonenr phonenum telephone telephonenumber telephoneno telno telnr
        telnumber telnum mobile mobilephone mobilenumber mobileno mobilenr cellphone cellnumber
        homephone workphone landline faxnumber faxno msisdn whatsapp contactnumber telefon
        telefonnummer telefonnr rufnummer handy handynummer handynr mobilnummer mobiltelefon
        festnetz faxnummer mobilnr telefax durchwahl telefone telemovel numerotelefone celular
        contactotelefonico contatotelefonico telefono numerotelefono movil telefonomovil telf1 telf2
        telfx telfix telpr mobnumber mobnr telmobile
    """,
    Kind.POSTAL_ADDRESS: """
        streetaddress homeaddress postaladdress mailingaddress residentialaddress addressline
        addressline1 addressline2 addrline1 addrline2 street1 street2 streetname streetnumber street
        housenumber houseno apartmentnumber apartmentno pobox fulladdress privateaddress
        billingaddress shippingaddress shipaddress deliveryaddress address adresse postbox strasse
        strassenname hausnummer hausnr wohnort wohnadresse anschrift privatanschrift privatadresse
        postanschrift postfach wohnanschrift strassehausnummer postadresse lieferanschrift
        lieferadresse morada rua endereco logradouro bairro moradafiscal enderecoresidencial
        numeroporta residencia direccion domicilio calle direccionpostal domiciliofiscal stras ort01
        ort02 pstlz pstl2 pfach locat postcode1 housenum1 city1
    """,
    Kind.BIRTH_DATE: """
        birthdate dateofbirth dob birthday birthdt bdate birthyear yearofbirth dateborn geburtsdatum
        geburtstag gebdatum gebdat geburtsjahr gebtag datanascimento datadenascimento dtnascimento
        nascimento datanasc dtnasc anonascimento fechanacimiento fechadenacimiento fechanac
        nacimiento fecnac fnacimiento gbdat gbjhr gbtag gbmon
    """,
    Kind.NATIONAL_ID: """
        ssn ssnumber socialsecuritynumber socialsecurityno socialsecurity nino
        nationalinsurancenumber nationalinsuranceno nationalid nationalidentifier nationalidnumber
        nationalidno identitycard identitynumber identitycardnumber idcard idcardnumber passport
        passportnumber passportno taxid taxidnumber taxpayerid itin personalidentitynumber citizenid
        drivinglicence drivinglicense driverslicense driverslicence driverlicense driverlicence
        drivinglicencenumber driverlicensenumber driverslicensenumber steuerid
        steueridentifikationsnummer steuernummer steuernr idnr sozialversicherungsnummer
        sozialversicherungsnr svnummer svnr rentenversicherungsnummer personalausweis
        personalausweisnummer ausweisnummer ausweisnr reisepass reisepassnummer passnummer passnr
        fuhrerscheinnummer fuehrerscheinnummer fuhrerschein fuehrerschein nif numerocontribuinte
        contribuinte numeroidentificacaofiscal nifnumber niss segurancasocial numerosegurancasocial
        cartaocidadao numerocartaocidadao bilheteidentidade cpf cpfcnpj cartadeconducao
        cartaconducao passaporte cnh numerocnh dni nie dninie nifnie numerodni seguridadsocial
        numeroseguridadsocial pasaporte documentoidentidade codicefiscale fiscalcode pesel bsn
        personnummer rodnecislo aadhaar aadhar curp cuil cuit numerosecu stcd1 stcd2 stcd3 stcd4
        perid icnum stenr
    """,
    Kind.IBAN: "iban ibannumber ibannr ibanno ibancode",
    Kind.BANK_ACCOUNT: """
        bankaccount bankaccountnumber bankaccountno bankaccountnr bankacct bankacctno kontonummer
        kontonr bankkonto bankkontonummer bankverbindung contabancaria numerocontabancaria nib
        cuentabancaria numerocuenta bankdaten bankdetails bankn bankn18
    """,
    Kind.PAYMENT_CARD: """
        creditcard creditcardnumber creditcardno ccnumber ccnum ccno cardnumber cardno paymentcard
        paymentcardnumber debitcard debitcardnumber kreditkarte kreditkartennummer kartennummer
        cartaocredito cartaodecredito numerocartao tarjetacredito tarjetadecredito numerotarjeta
        ccnr
    """,
    Kind.EMPLOYEE_NUMBER: """
        personnelnumber personnelno personnelid badgenumber badgeid badgeno payrollnumber payrollid
        emplid personalnummer personalnr persnr persno stammnummer ausweisid numeromecanografico
        nummecanografico nrmecanografico legajo pernr pernrd
    """,
    Kind.USER_ACCOUNT: """
        username userlogin loginname loginid useraccount screenname twitterhandle skypename
        benutzername benutzerkennung benutzerkonto anmeldename nomeutilizador nomeusuario
        nomedeutilizador nomedeusuario nombreusuario nombredeusuario createdby changedby modifiedby
        updatedby lastmodifiedby lastchangedby enteredby approvedby webuser uname ernam aenam usnam
        bname crnam usrid erfasstvon angelegtvon geandertvon geaendertvon criadopor alteradopor
        creadopor modificadopor
    """,
    Kind.IP_ADDRESS: """
        ip ipaddress ipaddr ipaddresse ipadresse ipv4 ipv6 ipv4address ipv6address clientip remoteip
        sourceip srcip dstip destip remoteaddr enderecoip direccionip loginip lastip userip
    """,
    Kind.MAC_ADDRESS: "macaddress macaddr macadresse enderecomac direccionmac wifimac",
    Kind.LICENCE_PLATE: """
        licenceplate licenseplate licenceplatenumber licenseplatenumber numberplate
        registrationplate vehicleregistration vehicleregistrationnumber vehregno carplate truckplate
        licplate kfzkennzeichen kennzeichenkfz amtlicheskennzeichen fahrzeugkennzeichen
        lkwkennzeichen nummernschild autokennzeichen pkwkennzeichen kennzeichen placa placacarro
        matriculaveiculo matriculaviatura matriculacamiao placaveiculo matriculavehiculo
        matriculacamion kfzkz
    """,
    Kind.VIN: """
        vin vinnumber vinno vincode vehicleidentificationnumber vehicleidentno chassisnumber
        chassisno fahrgestellnummer fahrgestellnr fahrzeugidentnummer fahrzeugidentifikationsnummer
        fahrzeugident rahmennummer fin17 numerochassi numerochassis numerodechassis bastidor
        numerobastidor numerodebastidor vhvin
    """,
    Kind.FREE_TEXT: """
        comment comments usercomment note remark remarks freetext freeform freetextfield feedback
        notes operatornotes shiftnotes bemerkung bemerkungen kommentar kommentare anmerkung
        anmerkungen freitext notiz notizen observacao observacoes comentario comentarios textolivre
        observacion observaciones textolibre notas
    """,
}
# A reason only beside a word for persons, or in a table that is about persons.
WEAK: dict[Kind, str] = {
    Kind.PERSON_NAME: NAMES + " legalname preferredname ape " + ROLES,
    Kind.PHONE: "tel fax cell mob extension telf fone fon",
    Kind.EMAIL: "mail",
    Kind.POSTAL_ADDRESS: """
        addr city town postcode postalcode zip zipcode zipcd plz postleitzahl ort stadt cidade
        localidade codigopostal cep ciudad poblacion municipio str county parish freguesia concelho
        postalcd
    """,
    Kind.BIRTH_DATE: "born geburt geb geboren",
    Kind.NATIONAL_ID: """
        idnumber idno identification ausweis taxnumber taxno taxcode fiscalid sin tin rg
    """,
    Kind.BANK_ACCOUNT: "accountnumber accountno acctno account acct konto conta cuenta",
    Kind.PAYMENT_CARD: "card karte cartao tarjeta pan",
    Kind.EMPLOYEE_NUMBER: "personid badge ausweisnr matricula",
    Kind.USER_ACCOUNT: "user userid login benutzer utilizador usuario uid account handle nick",
    Kind.IP_ADDRESS: "ipno",
    Kind.MAC_ADDRESS: "mac",
    Kind.LICENCE_PLATE: "plate plateno platenumber matricula registration registrationnumber",
    Kind.VIN: "chassis fin fahrgestell",
    Kind.LOCATION: """
        latitude longitude lat lon lng long latlong latlng geo gps coordinates coords geolocation
        location breitengrad laengengrad langengrad koordinaten coordenadas longitud latitud
        geopoint geom
    """,
    Kind.FREE_TEXT: "nota message nachricht mensagem mensaje text",
}
# Who stands beside a weak phrase makes it one of a person.
PERSONS = (
    """
    person persons personal people employees workers contact customer client user member patient
    student passenger manager applicant candidate spouse child mother father emergency home private
    residential resident cardholder beneficiary holder owner birth citizen visitor guest human
    author personen kunde kunden benutzer privat heimat besucher halter inhaber wohn pessoa pessoal
    cliente utilizador usuario titular privado casa mae pai contacto contato persona particular
    """
    + WORKERS
)
# What a phrase says of a thing, or of something that is no person: no data of persons.
THINGS = """
    plant machine product material part parts model tool robot station line hall building sensor
    file table column schema host server service process project program app application system
    domain group category brand queue topic bucket event alarm error job task step order item
    article sku asset warehouse store shop site factory company organisation organization department
    dept team unit class type supplier vendor manufacturer maker bank branch carrier airport port
    country region state city currency language field attribute parameter param variable metric
    signal tag node plc printer document folder image picture video template config setting version
    release package module library function method token key steel sheet metal component assembly
    chassis engine battery test recipe shift cost center centre account ledger contract invoice
    vehicle car truck controller memory register bus opc scanner camera conveyor screw weld gateway
    router switch website web page dealer business lot batch zone aisle bin dock gate tank pump
    valve motor axis fixture cell werk werke anlage anlagen maschine maschinen produkt teil teile
    fahrzeug modell werkzeug halle gebaeude gebaude geraet gerat datei tabelle spalte projekt
    prozess auftrag artikel lager standort abteilung firma lieferant hersteller linie roboter
    steuerung kostenstelle schicht fabrica maquina produto peca veiculo modelo ferramenta linha
    ficheiro tabela projeto encomenda artigo armazem fornecedor fabricante empresa turno planta
    producto pieza vehiculo herramienta linea archivo tabla proyecto pedido articulo almacen
    proveedor
"""
# A name with one of these speaks about such data: how many, since when, whether; it holds none.
ABOUT = """
    count counts cnt total sum avg average min max mean median rate ratio share percent pct length
    len size qty quantity sent received opened clicked bounced delivered verified valid validated
    confirmed checked flag is has was can should enabled disabled optin optout consent allowed
    required status type kind category kategorie categoria format domain provider template created
    changed updated modified deleted expiry expires expired last next timestamp score rank index
    hash checksum error errors attempts retries duplicates missing nulls coverage visible public
    anzahl menge summe mittelwert dauer datum gueltig gultig geprueft gepruft aktiv typ art
    quantidade tipo estado valido cantidad
"""
# Words a name may have or leave out.
PARTICLES = "of the de do da dos das del des der e y and und"
# Beside these, a phrase is the key of some other table.
KEYS = "id ids key fk ref cod code approval"
# Names that look like another phrase and are none: documents, and addresses of memory and nodes.
NEUTRAL = """
    deliverynote deliverynotes creditnote debitnote releasenote releasenotes notenumber noteid
    hostname filename domainname nameserver namespace tablename columnname fieldname typename
    emailtemplate emailserver mailserver mailbox baseaddress memoryaddress registeraddress
    busaddress nodeaddress opcaddress plcaddress startaddress endaddress addressspace webaddress
    websiteaddress urladdress displayname codename nickel useragent usertype userinterface userstory
    accountingdate phonetype operatingmode longtext longname longdescription shorttext texttype
    positionnumber workposition itemposition productcode personalization citycode businesspartner
    drivertype driverversion devicedriver odbcdriver locationtype contacttype contactresistance
    contactpressure contactforce contactarea contactangle mobileapp cardtype iprating ipclass ipcode
    ipprotection pannumber ownertype accountgroup accountkey glaccount identificationtype
    machineoperatorcount
"""
