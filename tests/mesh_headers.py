"""Headers of real tables, and which of their columns tell of a person, as people labelled them.

A column is a name, a type if not string, and its kind after a colon if it is personal data. The
labels are ours, made before the detector saw the table; the names are of published schemas.
"""

from atoll.mesh.pii import Column, Kind

# AdventureWorks, Microsoft's sample of a bicycle maker.
ADVENTURE_WORKS = {
    "HumanResources.Employee": """
        BusinessEntityID int32, NationalIDNumber:national_id, LoginID:user_account,
        OrganizationNode, OrganizationLevel int16, JobTitle, BirthDate date32[day]:birth_date,
        MaritalStatus, Gender, HireDate date32[day], SalariedFlag bool, VacationHours int16,
        SickLeaveHours int16, CurrentFlag bool, rowguid, ModifiedDate timestamp[us]
    """,
    "Person.Person": """
        BusinessEntityID int32, PersonType, NameStyle bool, Title, FirstName:person_name,
        MiddleName:person_name, LastName:person_name, Suffix, EmailPromotion int32,
        AdditionalContactInfo, Demographics, rowguid, ModifiedDate timestamp[us]
    """,
    "Person.Address": """
        AddressID int32, AddressLine1:postal_address, AddressLine2:postal_address,
        City:postal_address, StateProvinceID int32, PostalCode:postal_address, SpatialLocation,
        rowguid, ModifiedDate timestamp[us]
    """,
    "Person.EmailAddress": """
        BusinessEntityID int32, EmailAddressID int32, EmailAddress:email, rowguid, ModifiedDate
        timestamp[us]
    """,
    "Person.PersonPhone": """
        BusinessEntityID int32, PhoneNumber:phone, PhoneNumberTypeID int32, ModifiedDate
        timestamp[us]
    """,
    "Sales.CreditCard": """
        CreditCardID int32, CardType, CardNumber:payment_card, ExpMonth int16, ExpYear int16,
        ModifiedDate timestamp[us]
    """,
    "Production.Product": """
        ProductID int32, Name, ProductNumber, MakeFlag bool, FinishedGoodsFlag bool, Color,
        SafetyStockLevel int16, ReorderPoint int16, StandardCost double, ListPrice double, Size,
        SizeUnitMeasureCode, WeightUnitMeasureCode, Weight double, DaysToManufacture int32,
        ProductLine, Class, Style, ProductSubcategoryID int32, ProductModelID int32, SellStartDate
        timestamp[us], SellEndDate timestamp[us], DiscontinuedDate timestamp[us], rowguid,
        ModifiedDate timestamp[us]
    """,
    "Production.WorkOrder": """
        WorkOrderID int32, ProductID int32, OrderQty int32, StockedQty int32, ScrappedQty int16,
        StartDate timestamp[us], EndDate timestamp[us], DueDate timestamp[us], ScrapReasonID int16,
        ModifiedDate timestamp[us]
    """,
    "Production.ProductReview": """
        ProductReviewID int32, ProductID int32, ReviewerName:person_name, ReviewDate timestamp[us],
        EmailAddress:email, Rating int32, Comments:free_text, ModifiedDate timestamp[us]
    """,
    "Purchasing.Vendor": """
        BusinessEntityID int32, AccountNumber, Name, CreditRating int8, PreferredVendorStatus bool,
        ActiveFlag bool, PurchasingWebServiceURL, ModifiedDate timestamp[us]
    """,
    "Sales.SalesOrderHeader": """
        SalesOrderID int32, RevisionNumber int8, OrderDate timestamp[us], DueDate timestamp[us],
        ShipDate timestamp[us], Status int8, OnlineOrderFlag bool, SalesOrderNumber,
        PurchaseOrderNumber, AccountNumber, CustomerID int32, SalesPersonID int32, TerritoryID
        int32, BillToAddressID int32, ShipToAddressID int32, ShipMethodID int32, CreditCardID int32,
        CreditCardApprovalCode, CurrencyRateID int32, SubTotal double, TaxAmt double, Freight
        double, TotalDue double, Comment:free_text, rowguid, ModifiedDate timestamp[us]
    """,
    "dbo.ErrorLog": """
        ErrorLogID int32, ErrorTime timestamp[us], UserName:user_account, ErrorNumber int32,
        ErrorSeverity int32, ErrorState int32, ErrorProcedure, ErrorLine int32, ErrorMessage
    """,
    "HumanResources.Shift": """
        ShiftID int8, Name, StartTime time64[us], EndTime time64[us], ModifiedDate timestamp[us]
    """,
    "HumanResources.Department": "DepartmentID int16, Name, GroupName, ModifiedDate timestamp[us]",
}
# Schemas of published projects in the languages of plants.
GERMAN = {
    "kunde": """
        id int32, nachname:person_name, vorname:person_name, strasse:postal_address,
        plz:postal_address, ort:postal_address, telefon:phone, email:email
    """,
    "reparatur": """
        id int32, mitarbeiter_id int32:employee_number, kunde_id int32, nummer, art int8, geraet,
        seriennummer, symptome, aufgaben, geraetepasswort, expressbeabeitung bool, abholdatum
        date32[day], abholzeit time64[us], kostenvoranschlag
    """,
    "flug": """
        flugnummer int32, ursprung, ziel, distanz int32, abflugzeit int32, ankunftzeit int32
    """,
    "zertifiziert": "personalnummer:employee_number, flugzeugnummer int32",
    "person": """
        persnr int32:employee_number, vorname:person_name, nachname:person_name, gebdat
        date32[day]:birth_date, verstorben date32[day]
    """,
    "mitarbeiter": """
        id int32, mnr:employee_number, vorname:person_name, nachname:person_name, email:email,
        passwort, urlaubsanspruch int32, ist_ceo bool
    """,
    "mitarbeiter2": """
        m_nr int32:employee_number, m_name:person_name, m_vorname:person_name, abt_nr
    """,
    "abteilung": "abt_nr, abt_name, stadt",
    "projekt": "pr_nr, pr_name, mittel double",
    "belege": """
        id int32, art, nummer, kunde_id int32, person_id int32, titel, referenz, datum, gueltig_bis,
        faellig_bis, status, rabatt_bp int32, oeffentliche_notizen:free_text, bedingungen,
        fusszeile_text, unterschriftsseite int32, versand_token, entscheidung_am,
        entscheidung_ip:ip_address, entscheidung_fassung int32
    """,
    "beleg_positionen": """
        id int32, beleg_id int32, sortierung int32, produkt_id int32, produkt_name, beschreibung,
        menge double, einheit
    """,
    "betrieb": """
        id int32, firma, fusszeile, fusszeile2, logo_mime, logo binary, qr_iban:iban,
        qr_strasse:postal_address, qr_hausnummer:postal_address, qr_plz:postal_address,
        qr_ort:postal_address
    """,
}
PORTUGUESE = {
    "Funcionario": """
        CPF:national_id, Nome:person_name, Email:email, Logradouro:postal_address,
        Cidade:postal_address, Bairro:postal_address, UF, CEP:postal_address, ContatoTelefone:phone,
        ContatoCelular:phone, Admissao date32[day], Salario double, SupervisorCPF:national_id,
        SerialEquipamento
    """,
    "funcionario2": """
        id int32, primeiro_nome:person_name, segundo_nome:person_name, ultimo_nome:person_name,
        endereco:postal_address, sexo, cpf:national_id, data_nascimento date32[day]:birth_date,
        departamento_id int32, supervisor_id int32:employee_number
    """,
    "funcionario3": """
        codigo int32, nome:person_name, sexo, dt_nasc date32[day]:birth_date, salario double,
        cod_depto int32
    """,
    "funcionario4": """
        id_funcionario int32:employee_number, codigo_verificador int32, cpf:national_id,
        nome:person_name, data_nascimento date32[day]:birth_date, telefone:phone, email:email,
        endereco:postal_address, data_admissao date32[day], cargo, salario double, senha, ativo bool
    """,
    "cliente": """
        cod_cli int32, nome_cli:person_name, estadocivil_cli, cpf_cli:national_id,
        rg_cli:national_id, datanasc_cli date32[day]:birth_date, cod_sex int32, cod_end int32,
        cod_tel int32
    """,
    "onibus": "cod_oni int32, modelo_oni, marca_oni, placa_oni:licence_plate, tipo_oni",
    "departamento": "numero int32, nome, local",
    "projeto": """
        codigo int32, nome, descricao, cod_depto int32, cod_responsavel int32, data_inicio
        date32[day], data_fim date32[day]
    """,
    "Livro": "ISBN, Titulo, Ano int32",
    "Produto": """
        id_produto int32, nome, descricao, preco double, estoque int32, nome_imagem, url
    """,
}
SPANISH = {
    "Empleado": """
        idEmpleado int32:employee_number, idUsuario int32, dni:national_id, nombres:person_name,
        apePaterno:person_name, apeMaterno:person_name, telefono:phone, especialidad
    """,
    "empleado2": """
        id int32, ci int32:national_id, nacionalidad, primer_nombre:person_name,
        primer_apellido:person_name, segundo_nombre:person_name, segundo_apellido:person_name,
        fecha_nacimiento date32[day]:birth_date
    """,
    "empleado3": """
        nDIEmp:national_id, nomEmp:person_name, sexEmp, fecNac date32[day]:birth_date,
        fecIncorporacion date32[day], salEmp double, comisionE double, cargoE, jefeID, codDepto
    """,
    "empleado4": """
        cod_empleado int32:employee_number, dni_empleado:national_id, nombre:person_name,
        domicilio:postal_address
    """,
    "persona": """
        dni int32:national_id, cuil:national_id, nombre:person_name, apellido:person_name,
        calle:postal_address, numero int32:postal_address, ciudad:postal_address, provincia,
        codigo_postal:postal_address, telefono:phone, correo_electronico:email, fecha_nacimiento
        date32[day]:birth_date
    """,
    "usuario": "idUsuario int32, username:user_account, passwordHash, correo:email, estado",
    "departamento": "codDepto, nombreDpto, Ciudad, codDirector",
    "rol": "idRol int32, nombreRol",
    "compra": "id int64, fecha timestamp[us], total double, cliente_id int64",
    "incidencia": "id int64, problema, resolucion",
}
# Labelled after the vocabulary was mended by the tables above, and before it was by these.
LATER = {
    "Fahrgast": "FahrgastID int32, Vorname:person_name, Nachname:person_name, Telefonnummer:phone",
    "Fahrzeuge": """
        FahrzeugID int32, Marke, Kennzeichen:licence_plate, Sitzkapazitaet int32, Barrierefrei
    """,
    "Fahrten": "FahrtID int32, Startpunkt, Zielpunkt, FahrgastID int32, Datum timestamp[us]",
    "Ladesaeulen": "LadesaeuleID int32, La_PlatzID int32, L_status int32, La_BetriebID int32",
    "Fahrer": """
        Fahrer_ID int32:employee_number, Person_ID int32, Foto binary, Geburtsdatum
        timestamp[us]:birth_date, SVNummer int32:national_id, PassNummer int32:national_id
    """,
    "Kunden": """
        Kunde_ID int32, Person_ID int32, Firma, KreditkartenNummer:payment_card, KreditkartenPZ,
        PremiumKunde bool
    """,
    "fahrer2": """
        id int32, startnummer int32, klasse int32, nachname:person_name, vorname:person_name,
        strasse:postal_address, wohnort:postal_address, plz:postal_address, club, fahrzeug,
        geburtsdatum date32[day]:birth_date, telefon:phone, lizenznummer:national_id,
        rahmennummer:vin, kennzeichen:licence_plate, hubraum, bemerkung:free_text, land, startzeit
        time64[us], zielzeit time64[us], stechen int32, nennungseingang bool, papierabnahme bool,
        runden int32, punkte int32, rang int32
    """,
    "import_log": """
        id int32, run_timestamp timestamp[us], file_name, row_num int32, error_message, status
    """,
    "maschine": "id int32, geraete_id, standort, status, kundennummer",
    "firma": "nameFirma, kontaktadresse:postal_address, telefonnummer:phone",
    "repauftrag": """
        aid int32, mid int32, cause, schaden, reparatur, bearbdate timestamp[us], employee
        int32:employee_number, bearbeiter int32:employee_number, anlagedatum timestamp[us], status
        int32, kdnr int32, counter int64
    """,
    "produktionsauftrag": """
        pa_id int32, produkt_id int32, maschine_id int32, mitarbeiter_id int32:employee_number,
        startdatum date32[day], enddatum date32[day], menge int32, status
    """,
    "ANGESTELLTER": """
        PK_Angestellter int32:employee_number, Vorname:person_name, Nachname:person_name,
        SVN:national_id, Gehalt double, Bankdaten:bank_account, Geschlecht
    """,
    "Motorista": """
        codMotorista int32:employee_number, nome:person_name, cnh:national_id, telefone:phone,
        codTransportadora int32
    """,
    "Transportadora": """
        codTransportadora int32, cnpj, nome_fantasia, razao_social, IE, contato, codEndereco int32
    """,
    "Veiculo": """
        codVeiculo int32, placa:licence_plate, capacidade_carga double, codMotorista
        int32:employee_number, codTransportadora int32, statusVeiculo, categoriaVeiculo
    """,
    "motorista2": """
        id int32, nome:person_name, cpf:national_id, data_nascimento date32[day]:birth_date,
        telefone:phone, cnh_numero:national_id, cnh_categoria, cnh_validade date32[day],
        tipo_vinculo, status
    """,
    "motorista3": """
        cpf:national_id, nome:person_name, endereco:postal_address, bairro:postal_address,
        cidade:postal_address, estado, telefones:phone, sexo, data_de_nascimento
        date32[day]:birth_date, idade int32
    """,
    "modelo": "numero_do_modelo, modelo_do_carro",
    "operario": """
        id_operario:employee_number, dni_operario:national_id, telefono_operario:phone,
        prim_nom_op:person_name, prim_ape_op:person_name, seg_ape_op:person_name
    """,
    "usuarios": """
        id_usuario int64, p_nombre:person_name, s_nombre:person_name, p_apellido:person_name,
        s_apellido:person_name, correo:email, telefono int64:phone
    """,
    "orden_mantencion": """
        id_mantencion int32, tecnico_resp:person_name, fecha_inicio date32[day], fecha_termino
        date32[day], descripcion, cod_maquina int32
    """,
    "maquina": "num_maquina int32, nom_maquina, estado_maquina, tipo_maquina, cod_planta int32",
    "orden_produccion": """
        id_orden int32, id_producto int32, id_maquina int32, id_operario int32:employee_number,
        fecha_inicio date32[day], fecha_fin date32[day], cant_planeada int32, cant_producida int32,
        estado
    """,
    "downtime": """
        downtime_id int32, eq_id int32, breakdown_start timestamp[us], breakdown_end timestamp[us],
        downtime_minutes int32, failure_reason_code, action_desc:free_text, worker_id
        int32:employee_number
    """,
    "quality_inspection": """
        id int64, plate_no, defect_type, inspector_id int64:employee_number, inspected_at
        timestamp[us], note:free_text
    """,
    "material_stock_record": """
        id int64, material_id int64, type, quantity double, reason, operator:person_name,
        create_time timestamp[us]
    """,
    "maintenance_plan": """
        id int64, equipment_id int64, plan_name, cycle_days int32, last_maintain_date date32[day],
        next_maintain_date date32[day], content, status, create_time timestamp[us]
    """,
    "work_order": """
        id int32, technician_name:person_name, maitenance_type, intervention_date timestamp[us],
        machine_name, technical_position, downtime_start_time timestamp[us], field_intervention,
        intervention_resquester:person_name, intervention_request_date timestamp[us],
        technical_details, piece_issued bool, piece_type, piece_brand
    """,
    "cars": """
        car_id int32, brand, model, license_plate:licence_plate, year_of_issue int32, vin_code:vin,
        engine_volume double, engine_power int32, mileage int32
    """,
    "employees": """
        employee_position_id int32, surname:person_name, firstname:person_name,
        patronymic:person_name
    """,
    "Chinook.Customer": """
        CustomerId int32, FirstName:person_name, LastName:person_name, Company,
        Address:postal_address, City:postal_address, State, Country, PostalCode:postal_address,
        Phone:phone, Fax:phone, Email:email, SupportRepId int32
    """,
    "Chinook.Track": """
        TrackId int32, Name, AlbumId int32, MediaTypeId int32, GenreId int32, Composer:person_name,
        Milliseconds int32, Bytes int32, UnitPrice double
    """,
    "Northwind.Employees": """
        EmployeeID int32:employee_number, LastName:person_name, FirstName:person_name, Title,
        TitleOfCourtesy, BirthDate timestamp[us]:birth_date, HireDate timestamp[us],
        Address:postal_address, City:postal_address, Region, PostalCode:postal_address, Country,
        HomePhone:phone, Extension:phone, Photo binary, Notes:free_text, ReportsTo int32, PhotoPath
    """,
    "Northwind.Suppliers": """
        SupplierID int32, CompanyName, ContactName:person_name, ContactTitle,
        Address:postal_address, City:postal_address, Region, PostalCode:postal_address, Country,
        Phone:phone, Fax:phone, HomePage
    """,
    "Northwind.Orders": """
        OrderID int32, CustomerID, EmployeeID int32:employee_number, OrderDate timestamp[us],
        RequiredDate timestamp[us], ShippedDate timestamp[us], ShipVia int32, Freight double,
        ShipName, ShipAddress:postal_address, ShipCity:postal_address, ShipRegion,
        ShipPostalCode:postal_address, ShipCountry
    """,
    "Sakila.address": """
        address_id int32, address:postal_address, address2:postal_address, district, city_id int32,
        postal_code:postal_address, phone:phone, location binary, last_update timestamp[us]
    """,
    "SFLIGHT.SBOOK": """
        MANDT, CARRID, CONNID, FLDATE, BOOKID, CUSTOMID, CUSTTYPE, SMOKER, LUGGWEIGHT double, WUNIT,
        INVOICE, CLASS, FORCURAM double, FORCURKEY, LOCCURAM double, LOCCURKEY, ORDER_DATE, COUNTER,
        AGENCYNUM, CANCELLED, RESERVED, PASSNAME:person_name, PASSFORM, PASSBIRTH:birth_date
    """,
    "SFLIGHT.SCUSTOM": """
        MANDT, ID, NAME:person_name, FORM, STREET:postal_address, POSTBOX:postal_address,
        POSTCODE:postal_address, CITY:postal_address, COUNTRY, REGION, TELEPHONE:phone, CUSTTYPE,
        DISCOUNT, LANGU, EMAIL:email, WEBUSER:user_account
    """,
    "SAP.LFA1": """
        MANDT, LIFNR, LAND1, NAME1, NAME2, NAME3, NAME4, ORT01:postal_address, ORT02:postal_address,
        PFACH:postal_address, PSTL2:postal_address, PSTLZ:postal_address, REGIO, SORTL,
        STRAS:postal_address, ADRNR, MCOD1, MCOD2, MCOD3, ANRED, BAHNS, BBBNR, BBSNR, BEGRU, BRSCH,
        ERDAT date32[day], ERNAM:user_account, ESRNR, KONZS, KTOKK, KUNNR, LNRZA, LOEVM, SPERR,
        SPRAS, STCD1:national_id, STCD2:national_id, STKZA, STKZU, TELBX, TELF1:phone, TELF2:phone,
        TELFX:phone, TELTX, TELX1, XCPDK, XZEMP, VBUND, FISKN, STCEG
    """,
    "SAP.AFKO": """
        MANDT, AUFNR, RSNUM, GLTRP date32[day], GSTRP date32[day], FTRMS date32[day], GLTRS
        date32[day], GSTRS date32[day], GSTRI date32[day], GETRI date32[day], GLTRI date32[day],
        DISPO, FEVOR, TERKZ, REDKZ, APRIO, VFMNG double, PLNBEZ, GAMNG double, GMEIN, GASMG double,
        IGMNG double
    """,
    "SAP.MARA": """
        MANDT, MATNR, ERSDA date32[day], ERNAM:user_account, LAEDA date32[day], AENAM:user_account,
        VPSTA, PSTAT, LVORM, MTART, MBRSH, MATKL, BISMT, MEINS, BSTME, ZEINR, ZEIAR, ZEIVR, AESZN,
        BLATT, FORMT, GROES, WRKST, NORMT, LABOR, EKWSL, BRGEW double, NTGEW double, GEWEI, VOLUM
        double, VOLEH, BEHVO, RAUBE, TEMPB, TRAGR, STOFF, SPART, KUNNR, EAN11, NUMTP
    """,
    "SAP.PA0002": """
        MANDT, PERNR:employee_number, SUBTY, OBJPS, SPRPS, ENDDA date32[day], BEGDA date32[day],
        SEQNR, AEDTM date32[day], UNAME:user_account, INITS, NACHN:person_name, NAME2:person_name,
        NACH2:person_name, VORNA:person_name, CNAME:person_name, TITEL, NAMZU, VORSW,
        RUFNM:person_name, MIDNM:person_name, ANRED, GESCH, GBDAT date32[day]:birth_date, GBLND,
        GBDEP, GBORT, NATIO, SPRSL, KONFE, FAMST, FAMDT date32[day], ANZKD, PERID:national_id
    """,
    "SAP.PA0006": """
        MANDT, PERNR:employee_number, SUBTY, ANSSA, NAME2:person_name, STRAS:postal_address,
        ORT01:postal_address, ORT02:postal_address, PSTLZ:postal_address, LAND1, TELNR:phone, ENTKM,
        WKWNG, BUSRT, LOCAT:postal_address, ADR03:postal_address, STATE
    """,
    "IBM.attrition": """
        Age int32, Attrition, BusinessTravel, DailyRate int32, Department, DistanceFromHome int32,
        Education int32, EducationField, EmployeeCount int32, EmployeeNumber int32:employee_number,
        EnvironmentSatisfaction int32, Gender, HourlyRate int32, JobInvolvement int32, JobLevel
        int32, JobRole, JobSatisfaction int32, MaritalStatus, MonthlyIncome int32, MonthlyRate
        int32, NumCompaniesWorked int32, Over18, OverTime, PercentSalaryHike int32,
        PerformanceRating int32, RelationshipSatisfaction int32, StandardHours int32,
        StockOptionLevel int32, TotalWorkingYears int32, TrainingTimesLastYear int32,
        WorkLifeBalance int32, YearsAtCompany int32, YearsInCurrentRole int32,
        YearsSinceLastPromotion int32, YearsWithCurrManager int32
    """,
    "titanic": """
        PassengerId int32, Survived int32, Pclass int32, Name:person_name, Sex, Age double, SibSp
        int32, Parch int32, Ticket, Fare double, Cabin, Embarked
    """,
    "MetroPT": """
        timestamp timestamp[us], TP2 double, TP3 double, H1 double, DV_pressure double, Reservoirs
        double, Oil_temperature double, Motor_current double, COMP double, DV_eletric double, Towers
        double, MPG double, LPS double, Pressure_switch double, Oil_level double, Caudal_impulses
        double
    """,
    "wind turbines": """
        Wind_turbine_name, Date_time timestamp[us], Ba_avg double, P_avg double, Ws_avg double,
        Va_avg double, Ot_avg double, Ya_avg double, Wa_avg double, Gb1t_avg double, Git_avg double
    """,
    "taxi": """
        VendorID int32, tpep_pickup_datetime timestamp[us], tpep_dropoff_datetime timestamp[us],
        passenger_count int32, trip_distance double, RatecodeID int32, store_and_fwd_flag,
        PULocationID int32, DOLocationID int32, payment_type int32, fare_amount double, extra
        double, mta_tax double, tip_amount double, tolls_amount double, improvement_surcharge
        double, total_amount double, congestion_surcharge double, Airport_fee double
    """,
    "turbofan": "unit_number int32, time_in_cycles int32, setting_1 double, sensor_1 double",
}
# Labelled and met last; nothing was mended by them.
LAST = {
    "Personen": """
        Person_ID int32, Anrede, Vorname:person_name, Nachname:person_name, Telefonnummer:phone,
        EMail:email
    """,
    "Auftraege": """
        Auftrag_ID int32, Fahrer_ID int32:employee_number, Kunde_ID int32, Status_ID int32
    """,
    "fahrer": """
        nummer int32, vorname:person_name, nachname:person_name, land, geburtstag:birth_date,
        team int32, liga int32, kuerzel, ist_spieler int32
    """,
    "team": """
        nummer int32, name, land, hersteller, herstellerfarbe, farbe, budget int32,
        fahrer:person_name
    """,
    "fahrer3": """
        id int32, vorname:person_name, nachname:person_name, geburtsdatum date32[day]:birth_date,
        kontakt_nr:phone, email:email
    """,
    "pilot": "pinr int32, name:person_name, gebdat date32[day]:birth_date, quali, flug_h int32",
    "maschine": "id int32, parts_id int32, serialnumber, standort, inspdatum date32[day]",
    "vermietung": "VID int32, KID int32, MID int32, start timestamp[us], ende timestamp[us]",
    "kunde": "KID int32, Fname:person_name, Lname:person_name, Mail:email, Telefon:phone",
    "zubehor": "ZID int32, Typ, Name, Anzahl int32, Preis double",
    "Cliente": """
        razao_social, nome_fantasia, cnpj, inscricao_estadual, tipo, logradouro:postal_address,
        numero:postal_address, complemento:postal_address, bairro:postal_address,
        municipio:postal_address, uf, cep:postal_address, telefone:phone, email:email, status bool
    """,
    "Vendedor": """
        CodVdd int32:employee_number, CPF int64:national_id, V_Comissao double, Nome:person_name,
        Endereco:postal_address
    """,
    "Entrega": "Hora time64[us], Data date32[day], NumVen int32, Placa:licence_plate",
    "carro": "idCarro int32, modelo, placa:licence_plate, estado, fkMotora int32",
    "usuarios": """
        ID_usuario int32, Nombre:person_name, Apellido:person_name, Edad int32,
        CorreoElectronico:email, Numero_peticiones int32
    """,
    "Vehiculo": "ID_Vehiculo int32, Patente:licence_plate, Tipo, CapacidadKg int32",
    "Caja": "ID_Caja int32, CodigoBarras, Peso double",
    "Incidencia": "ID_Incidencia int32, ID_Entrega int32, Tipo, Descripcion, FechaRegistro",
    "Operario": "numeroCCOperario int64:national_id, nomeOperario:person_name",
    "Maquina": "idMaquina int64, nomeMaquina, nomeEdificio",
    "partner": """
        id int32, partner_code, name, partner_type, biz_no, ceo:person_name, active int32, source,
        created_at
    """,
    "defect_type": "id int32, code, name, proc_code, active int32, source, created_at",
    "work_order": """
        id int32, order_no, item_code, order_qty double, line_no, start_date, end_date, status,
        batch_id, note:free_text, created_by:user_account, created_at, updated_at,
        status_by:user_account, status_at
    """,
    "customer": """
        cust_id int32, cust_name:person_name, street:postal_address, building_num:postal_address,
        city:postal_address, province, country
    """,
    "part": "part_id int32, part_name, serial_num, dimensions, rack_num, qty int32, mat_id int32",
    "user": "users_id int32, username:user_account, password_hash",
    "company": """
        name_of_company, legal_adress, taxpayer_number, registration_reason_code,
        state_registration_number, bank_details:bank_account
    """,
    "machine_state": """
        station_id, observed_at timestamp[us], operating_state, active_error_code,
        classification int16, created_at timestamp[us], updated_at timestamp[us]
    """,
    "alarm_event": "id, station_id, event_at timestamp[us], alarm_code, severity",
    "rolling_process": """
        plate_no, hsb_applied bool, rolling_method, rolling_temp int16, descaling_count int16,
        work_group, rolling_date timestamp[us], recorded_at timestamp[us]
    """,
    "inspection": """
        inspection_no, order_id int64, order_item_id int64, inspection_date date32[day],
        inspector:person_name, lot_qty int32, sample_qty int32, defect_qty int32,
        defect_rate double, aql_level, aql_critical double
    """,
    "inspection2": """
        inspection_criteria, findings, inspected_by:user_account, inspected_at timestamp[us]
    """,
    "demand_forecast": """
        forecast_id int32, forecast_month, material_id int32, company_id int32,
        forecast_qty double, actual_sales_qty double, mape double, forecast_version
    """,
    "shipment": """
        shipment_id int32, external_no, so_id int32, shipment_date, customer_id int32,
        material_id int32, shipped_qty double, carrier, otd_flag, status
    """,
}
EARLY = ADVENTURE_WORKS | GERMAN | PORTUGUESE | SPANISH


_TYPES = (
    *(" bool", " binary", " double", " date32[day]", " timestamp[us]", " time64[us]"),
    *(" int8", " int16", " int32", " int64"),
)


def parsed(lines: str) -> list[tuple[Column, Kind | None]]:
    """Read the columns of a table and their labels."""
    found = []
    for line in " ".join(lines.split()).split(","):
        text, _, kind = line.strip().partition(":")
        name, _, type_text = text.rpartition(" ") if text.endswith(_TYPES) else (text, "", "")
        found.append((Column(name, type_text or "string"), Kind(kind) if kind else None))
    return found
